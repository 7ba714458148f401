"""The project's own integration tests and torch, in a container that has /dev/fuse and SYS_ADMIN and nothing else."""

import json
import subprocess
from pathlib import Path

import pytest

from engine import MOUNTING, PYTHON, REPOSITORY, Ground, docker, userland

LONG_SECONDS = 1200


def run(ground: Ground, flags: list[str], command: list[str]) -> str:
    """What a command printed in a container of its own; it must succeed."""
    flags = [*MOUNTING, "--no-healthcheck", *userland(), "--workdir", str(REPOSITORY), *flags]
    container = ground.container([*flags, "--entrypoint", command[0]], command[1:])
    container.start()
    code = docker("wait", container.id, seconds=LONG_SECONDS).stdout.strip()
    assert code == "0", f"{command}: exit {code}: {container.said()[:12000]}"
    return container.said()


def compiled(name: str) -> tuple[Path, Path]:
    """The program of a Rust integration test, and the folder of its scratch files."""
    command = ["cargo", "test", "--locked", "--no-run", "--test", name, "--message-format=json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    made = [one for one in messages if one.get("executable") and one["target"]["name"] == name]
    program = Path(made[-1]["executable"])
    return program, program.parents[2] / "tmp"


@pytest.mark.long
@pytest.mark.timeout(LONG_SECONDS)
@pytest.mark.parametrize("name", ["engine", "fuse"])
def test_the_rust_integration_tests_pass(ground: Ground, name: str) -> None:
    program, scratch = compiled(name)
    # Scratch on a volume: the test mounts stores there, and a container's own filesystem is an overlay.
    flags = ["-v", f"{program.parents[2]}:{program.parents[2]}:ro", "-v", f"{ground.volume()}:{scratch}"]
    said = run(ground, flags, [str(program)])
    assert "test result: ok" in said, said[-2000:]


@pytest.mark.long
@pytest.mark.timeout(LONG_SECONDS)
def test_torch_passes_with_passthrough_and_without(ground: Ground) -> None:
    flags = ["-v", f"{ground.volume()}:/data", "-e", "CKPTFS_BIN=/usr/local/bin/ckptfs", "-e", "PYTHONDONTWRITEBYTECODE=1"]
    chosen = ["-k", "torch or pytorch or dcp", "--basetemp=/data/tests"]
    said = run(ground, flags, [PYTHON, "-m", "pytest", "tests/frameworks", *chosen])
    assert " passed" in said and "failed" not in said, said[-2000:]

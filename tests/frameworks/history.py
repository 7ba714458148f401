"""What the tests of history share: training scripts as processes of their own, and what `ckptfs log` says of a run.

Counting never depends on timing: a script that is followed is only let go on when its version is there, and one that
runs at full speed is counted after the unmount, which makes a version of whatever is still waiting for one.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from mount import Mount

SCRIPT = Path(__file__).with_name("training.py")
# Bounds for a busy machine, not expectations.
VERSION_SECONDS = 30
EXIT_SECONDS = 90
# Nothing comes to rest by itself: versions are made by what the writers do, and by the unmount.
AT_UNMOUNT = "1h"
QUIET = "1s"


class Training:
    """A training script that runs. With `follow` it waits after each save until go_on()."""

    def __init__(self, writer: str, folder: Path, saves: int, follow: bool = False, script: Path = SCRIPT, **environment):
        self.errors = tempfile.TemporaryFile()
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
        follows = {"FOLLOW": "1"} if follow else {}
        self.process = subprocess.Popen(
            [sys.executable, str(script), writer, str(folder), str(saves)],
            cwd=script.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=os.environ | quiet | follows | {name: str(value) for name, value in environment.items()},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def wait_for(self, line: str) -> None:
        """Reads until the script says `line`; pytest's timeout is the bound."""
        for said in self.process.stdout:
            if said.strip() == line:
                return
        raise AssertionError(f"the script ended without saying '{line}': {self._failure()}")

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        """Lets the script end, which it must do without an error."""
        code = self.process.wait(EXIT_SECONDS)
        assert code == 0, f"the script ended with {code}: {self._failure()}"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(EXIT_SECONDS)

    def _failure(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[-2000:]


def train(writer: str, folder: Path, saves: int, **environment) -> None:
    """Runs a script at full speed, to its end."""
    with Training(writer, folder, saves, **environment) as training:
        training.finish()


def train_and_follow(mount: Mount, writer: str, folder: Path, saves: int, **environment) -> None:
    """Runs a script that goes on only when the version of its last save is there."""
    before = len(log(mount, folder))
    with Training(writer, folder, saves, follow=True, **environment) as training:
        for number in range(1, saves + 1):
            training.wait_for(f"saved {number}")
            wait_for_versions(mount, folder, before + number)
            training.go_on()
        training.finish()


def log(mount: Mount, run: Path, *arguments: str) -> list[dict]:
    """The versions of the run at or above a path of the mount, oldest first; none where nothing is a run yet."""
    done = mount.command("log", str(run), "--json", *arguments)
    if done.returncode != 0:
        assert "no run" in done.stderr or "No such file" in done.stderr, f"ckptfs log {run}: {done.stderr}"
        return []
    return json.loads(done.stdout)["versions"][::-1]


def runs(mount: Mount) -> dict[str, int]:
    """Path below the mount to number of versions, of every run."""
    return {run["path"]: run["versions"] for run in json.loads(mount.run("run", "list", str(mount.path), "--json"))}


def wait_for_versions(mount: Mount, run: Path, count: int) -> list[dict]:
    """Waits until a run has so many versions."""
    return wait_for(lambda: (len(found := log(mount, run)) >= count and found, found), f"{count} versions of {run}")


def wait_for(look, what: str):
    """Waits until `look` gives something true as the first of the pair that it returns; the second is for the failure."""
    deadline = time.monotonic() + VERSION_SECONDS
    while True:
        found, seen = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"no {what} within {VERSION_SECONDS} s: {seen}"
        time.sleep(0.05)


def at_any_pace(mount: Mount, follow: bool, writer: str, folder: Path, saves: int) -> None:
    """Trains followed or at full speed."""
    if follow:
        train_and_follow(mount, writer, folder, saves)
    else:
        train(writer, folder, saves)


def settled(mount: Mount, run: Path, settle: str = AT_UNMOUNT, options: str = "") -> list[dict]:
    """All versions that there will ever be of what was written: counted after an unmount and a mount."""
    mount.unmount(wait=True)
    mount.mount(settle, options)
    return log(mount, run)


def check_good(versions: list[dict], count: int) -> None:
    """One complete and valid version a save, numbered without a gap."""
    told = [(version["number"], version["trigger"], version["complete"], version["valid"], version["why"]) for version in versions]
    assert [version["number"] for version in versions] == list(range(1, count + 1)), told
    assert all(version["complete"] and version["valid"] for version in versions), told


def at(run: Path, number: int) -> Path:
    """The directory of a version."""
    return run / ".snapshots" / f"{number:06}"


# For what is slow: the path that training takes.
passthrough_on = pytest.mark.parametrize("mount", ["on"], indirect=True, ids=["passthrough-on"])

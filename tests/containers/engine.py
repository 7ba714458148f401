"""The container engine's command line, and what one test makes with it: containers, volumes, folders for mounts.

Everything is made through a Ground, which takes it all away again whatever the test does. A step that does not happen
within its bound raises with what the engine said.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

COMMAND_SECONDS = 60
# A store is made and mounted, or a version is made, in a fraction of this also on a machine that is busy.
WAIT_SECONDS = 30
TRAINER_UID = 10002
# Where a container finds this machine's Python; its home may be below /root, where a trainer may not look.
PYTHON = f"/opt/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
# What the system says of a mount whose daemon is gone (ENOTCONN).
GONE = "Transport endpoint is not connected"
REPOSITORY = Path(__file__).resolve().parents[2]
TRAINER = str(REPOSITORY / "tests/containers/trainer.py")

# All that mounting needs. Where AppArmor is on, its profile for containers forbids mount(2).
MOUNTING = ["--device", "/dev/fuse", "--cap-add", "SYS_ADMIN"]
if Path("/sys/kernel/security/apparmor").exists():
    MOUNTING += ["--security-opt", "apparmor=unconfined"]
# What is left of a user with nothing.
POWERLESS = ["--user", f"{TRAINER_UID}:{TRAINER_UID}", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


def docker(*arguments: str, seconds: float = COMMAND_SECONDS) -> subprocess.CompletedProcess:
    """How a docker command ended."""
    command = ["docker", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False)


def told(*arguments: str) -> str:
    """What a docker command printed; it must succeed."""
    done = docker(*arguments)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: exit {done.returncode}: {done.stderr.strip()}"
    return done.stdout.strip()


def eventually(what: str, holds: Callable[[], bool]) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {WAIT_SECONDS} s: {what}"
        time.sleep(0.1)


def userland() -> list[str]:
    """Flags that give a container this machine's programs and Python packages, read-only: what was compiled and
    installed here runs there as it is. /usr/local stays the image's, with the ckptfs that is tested."""
    # A Python with a shared library of its own looks for it where it was installed.
    flags = ["-e", "PYTHONPATH=/opt/packages", "-e", "LD_LIBRARY_PATH=/opt/python/lib", "-v", f"{sys.base_prefix}:/opt/python:ro"]
    packages = next(Path(sys.prefix).resolve().glob("lib/python*/site-packages"))
    flags += ["-v", f"{packages}:/opt/packages:ro", "-v", f"{REPOSITORY}:{REPOSITORY}:ro"]
    for folder in ("bin", "sbin", "lib", "lib64", "share"):
        if Path("/usr", folder).exists():
            flags += ["-v", f"/usr/{folder}:/usr/{folder}:ro"]
    return flags


def shown(source: Path, target: str) -> list[str]:
    """Flags by which a container sees what is mounted below `source`, now and later, and writes nowhere but in there."""
    mount = f"type=bind,source={source},target={target},readonly,bind-propagation=rslave"
    # From Docker 25 on a read-only mount makes the mounts below it read-only too, unless told not to.
    version = told("version", "--format", "{{.Server.APIVersion}}").split(".")
    if (int(version[0]), int(version[1])) >= (1, 44):
        mount += ",bind-recursive=writable"
    return ["--mount", mount]


class Container:
    """One container, not started yet."""

    def __init__(self, flags: list[str], command: list[str]):
        self.id = told("create", "--network", "none", *flags, os.environ["CKPTFS_IMAGE"], *command)

    def start(self) -> None:
        """Starts it, or starts it again."""
        told("start", self.id)

    def run(self, *command: str) -> subprocess.CompletedProcess:
        """Runs a command in it."""
        return docker("exec", self.id, *command)

    def told(self, *command: str) -> str:
        """What a command in it printed; it must succeed."""
        return told("exec", self.id, *command)

    def ended(self) -> int:
        """Waits for its end; the exit code."""
        return int(told("wait", self.id))

    def stop(self, seconds: int) -> int:
        """SIGTERM, and SIGKILL after so many seconds; the exit code, 137 after SIGKILL."""
        told("stop", "--time", str(seconds), self.id)
        return self.ended()

    def kill(self) -> None:
        """SIGKILL."""
        told("kill", self.id)
        self.ended()

    def said(self) -> str:
        """All that it has written."""
        done = docker("logs", self.id)
        return done.stdout + done.stderr

    def state(self, template: str) -> str:
        """A part of its state, as a template of docker inspect."""
        return told("inspect", "--format", template, self.id)


class Ground:
    """What a test has made."""

    def __init__(self, work: Path):
        self.work = work
        self.containers: list[Container] = []
        self.volumes: list[str] = []
        self.folders: list[Path] = []

    def container(self, flags: list[str], command: list[str]) -> Container:
        """A new container."""
        container = Container(flags, command)
        self.containers.append(container)
        return container

    def volume(self) -> str:
        """A new, empty volume."""
        self.volumes.append(told("volume", "create"))
        return self.volumes[-1]

    def shared_folder(self) -> Path:
        """A folder from which mounts propagate: as kubelet's volumes and, under systemd, all of a host are."""
        folder = self.work / f"shared-{len(self.folders)}"
        folder.mkdir()
        subprocess.run(["mount", "--bind", folder, folder], check=True)
        self.folders.append(folder)
        subprocess.run(["mount", "--make-rshared", folder], check=True)
        return folder

    def clear(self) -> None:
        """Takes everything away."""
        for container in self.containers:
            told("rm", "--force", container.id)
        for folder in self.folders:
            subprocess.run(["umount", "--recursive", "--lazy", folder], check=True)
        for volume in self.volumes:
            told("volume", "rm", volume)

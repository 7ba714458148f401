"""Mounts for the scripts that measure or break them: start, wait until usable, end, or kill.

Every wait has a limit, and only processes that were started here, or that the store mounted here names as its daemon,
are ever signalled. Targets other than ckptfs (`bindfs`, `native`) calibrate a script: what fails on them is the script.
"""

import functools
import json
import os
import pathlib
import signal
import subprocess
import time

LIMIT_SECONDS = 60


class MountError(Exception):
    """A mount did not do what it was asked within its limit."""


def unescape(field: str) -> str:
    """A path as /proc/self/mountinfo writes it."""
    return field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def is_mounted(path: pathlib.Path) -> bool:
    """By the mount table, because stat of a dead mount fails."""
    table = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return any(unescape(line.split()[4]) == str(path) for line in table)


def answers(path: pathlib.Path) -> bool:
    """Asks the daemon first: what answers is no dead mount, and if it is no mount at all, it is on the parent's device."""
    try:
        os.statvfs(path)
        return os.stat(path).st_dev != os.stat(path.parent).st_dev
    except OSError:
        return False


def wait_for(what: str, condition, limit: float = LIMIT_SECONDS) -> None:
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise MountError(f"{what}: not within {limit:.0f} s")
        time.sleep(0.005)


def gone(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@functools.cache
def bindfs_needs_big_writes() -> bool:
    """With libfuse 2 it writes 4 KiB at a time unless it is told otherwise."""
    said = subprocess.run(["bindfs", "--fuse-version"], capture_output=True, text=True, check=True)
    return "linked version 2" in said.stdout + said.stderr


class Mount:
    """One store and the folder that it is mounted on; mounted again and again."""

    def __init__(self, target: str, binary: str, store: pathlib.Path, folder: pathlib.Path):
        self.target, self.binary, self.store, self.folder = target, binary, store.resolve(), folder.resolve()
        self.process, self.pid = None, 0
        self.store.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)

    def command(self, options: str, foreground: bool) -> list[str]:
        if self.target == "bindfs":
            # Without these, its names of one file have attributes of their own for a second.
            options = options or "attr_timeout=0,entry_timeout=0"
            if bindfs_needs_big_writes():
                options += ",big_writes"
            return ["bindfs", "-f", "-o", f"allow_other,{options}", str(self.store), str(self.folder)]
        stay = ["--foreground"] if foreground else []
        return [self.binary, "mount", *stay, str(self.store), str(self.folder), "-o", options]

    def start(self, options: str, log: pathlib.Path) -> None:
        """Begins to mount and stays the daemon's parent; use `ready` before using it."""
        if self.target == "bindfs" and is_mounted(self.folder):
            subprocess.run(["umount", "-l", self.folder], check=True)
        with open(log, "ab") as out:
            self.process = subprocess.Popen(self.command(options, True), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.pid = self.process.pid

    def ready(self) -> None:
        def usable() -> bool:
            if self.process and self.process.poll() is not None:
                raise MountError(f"the daemon ended with status {self.process.returncode} before the mount was usable")
            return answers(self.folder)

        wait_for("mount", usable)

    def mount(self, options: str, log: pathlib.Path) -> None:
        """In the background, as people do it: usable when the command returns."""
        if self.target == "bindfs":
            self.start(options, log)
            self.ready()
            return
        with open(log, "ab") as out:
            done = subprocess.run(self.command(options, False), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  timeout=LIMIT_SECONDS, check=False)
        if done.returncode != 0:
            raise MountError(f"mount ended with status {done.returncode}; its words are in {log}")
        if not answers(self.folder):
            raise MountError("mount returned, but the folder does not answer")
        self.process, self.pid = None, int(self.status()["pid"])

    def status(self) -> dict:
        done = subprocess.run([self.binary, "status", str(self.folder), "--json"], capture_output=True,
                              timeout=LIMIT_SECONDS, check=True)
        return json.loads(done.stdout)

    def wait_still(self, seconds: float, limit: float, ready=lambda status: True) -> None:
        """Until nothing is queued, sealed, encoded anew or deleted, the store stays as large as it is, and `ready` says so of
        its status, all for so many seconds."""
        since, before = time.monotonic(), None

        def still() -> bool:
            nonlocal since, before
            time.sleep(seconds / 6)
            status = self.status()
            sealing = status["sealing"]
            busy = sealing["queued_files"] or sealing["in_progress"] or status["reencoding"] != "idle" or not ready(status)
            now = status["stored_bytes"], status["reencoded_bytes"], status["hot_bytes"], status["versions"]
            if busy or now != before:
                since, before = time.monotonic(), now
            return time.monotonic() - since > seconds

        wait_for(f"an idle mount at {self.folder}", still, limit)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.ended()

    def ended(self) -> None:
        """The daemon is gone, and reaped if it was our child."""
        if self.process:
            self.process.wait(timeout=LIMIT_SECONDS)
        else:
            wait_for(f"end of the daemon {self.pid}", lambda: gone(self.pid))
        self.process, self.pid = None, 0

    def unmount(self, *, wait: bool = False) -> None:
        if self.target == "bindfs":
            command = ["fusermount3", "-u", str(self.folder)]
        else:
            command = [self.binary, "unmount", str(self.folder), *(["--wait"] if wait else [])]
        subprocess.run(command, check=True, timeout=LIMIT_SECONDS * 5, stdout=subprocess.DEVNULL)
        self.ended()
        if is_mounted(self.folder):
            raise MountError("still mounted after unmount")

    def peak_kib(self) -> int:
        """The daemon's largest resident memory so far."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        raise MountError(f"process {self.pid} has no VmHWM")

    def clear(self) -> None:
        """Whatever state it is in: nothing mounted afterwards, no daemon of ours left."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        while is_mounted(self.folder):
            subprocess.run(["umount", "-l", self.folder], check=True)

"""A ckptfs mount that a test owns: its own store, its own mountpoint, nothing shared with another test.

The order is mount, work, unmount; seal() and remount() may come any number of times between. A step that does not
happen within its bound raises with what the program said, so a missing mount is a failure and never a skip.
"""

import json
import os
import subprocess
import time
from pathlib import Path

COMMAND_SECONDS = 30
SEAL_SECONDS = 60
# Sealing counts as finished once nothing is queued and no figure has moved for this long; it is several times SETTLE,
# since a file that was just closed is not in the queue before its quiet time is over.
STILL_SECONDS = 0.6
SETTLE = "100ms"
NEVER = "24h"


class Mount:
    """One store and its mountpoint. `passthrough` is "on" or "off", and is checked, not hoped for."""

    def __init__(self, program: str, work: Path, passthrough: str):
        self.program = program
        self.store = work / "store"
        self.path = work / "mount"
        self.passthrough = passthrough
        self.path.mkdir()

    def mount(self, settle: str, options: str = "") -> None:
        """Mounts with no cache of hot files, so that whatever is sealed is read from chunks. `settle` is the quiet
        time before a file is sealed; NEVER keeps everything hot for as long as a test runs."""
        given = f"passthrough={self.passthrough},settle={settle},hot_cache=0"
        self.run("mount", str(self.store), str(self.path), "-o", f"{given},{options}" if options else given)
        assert os.path.ismount(self.path), f"{self.path} is not a mount after `ckptfs mount` returned"
        on = self.status()["passthrough"]["on"]
        assert on == (self.passthrough == "on"), f"passthrough={self.passthrough} was asked for, status says {on}"

    def unmount(self, wait: bool = False) -> None:
        """Unmounts; `wait` seals everything first."""
        self.run("unmount", str(self.path), *(["--wait"] if wait else []))
        assert not os.path.ismount(self.path), f"{self.path} is still a mount after `ckptfs unmount`"

    def remount(self, settle: str) -> None:
        """Unmounts and mounts again: what is read afterwards was found again, not remembered."""
        self.unmount()
        self.mount(settle)

    def status(self) -> dict:
        """What `ckptfs status --json` says."""
        return json.loads(self.run("status", str(self.path), "--json"))

    def seal(self) -> dict:
        """Waits until everything that can be sealed is sealed; returns the status of that moment."""
        deadline = time.monotonic() + SEAL_SECONDS
        before, since = None, time.monotonic()
        while time.monotonic() < deadline:
            status = self.status()
            busy = status["sealing"]["queued_files"] or status["sealing"]["in_progress"]
            figures = (status["hot_bytes"], status["stored_bytes"], status["logical_bytes"])
            if busy or figures != before:
                before, since = figures, time.monotonic()
            elif time.monotonic() - since >= STILL_SECONDS:
                return status
            time.sleep(0.1)
        raise AssertionError(f"sealing did not finish within {SEAL_SECONDS} s: {status}")

    def drop(self) -> None:
        """Ends the mount whatever the test has left of it."""
        if os.path.ismount(self.path):
            try:
                self.unmount()
            except AssertionError:
                subprocess.run(["fusermount3", "-u", "-z", str(self.path)], check=False)
                raise

    def run(self, *arguments: str) -> str:
        """What the program prints when it succeeds, which it must."""
        done = self.command(*arguments)
        assert done.returncode == 0, f"ckptfs {' '.join(arguments)}: exit {done.returncode}: {done.stderr.strip()}"
        return done.stdout

    def command(self, *arguments: str) -> subprocess.CompletedProcess:
        """How the program ended."""
        return subprocess.run(
            [self.program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

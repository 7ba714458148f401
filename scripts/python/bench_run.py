"""One section of the benchmark: its sides, its rows, and how they take turns.

Sides: `native`, a folder of the disk; mounts of throw-away stores beside it; `bindfs`, the plainest FUSE filesystem. A
row is measured on all of its sides in one go, in turning order, after a warm-up that is not counted: a disk that slows
down slows all. What a save leaves to a mount's threads is waited for off the clock, as a native folder has done it.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench_table import Row, machine, show, write
from mounts import Mount, MountError, wait_for

GB = 10**9
IDLE_SECONDS = 240
# Nothing is left to do when status says so for this long.
STILL_SECONDS = 0.3
# As people mount it: names and attributes are kept for a second.
BINDFS = "attr_timeout=1,entry_timeout=1"
# The disk of a measurement is filled and freed on purpose, and damage is not looked for meanwhile.
COMMON = "min_free=1MiB,scrub_rate=0"


def newest_version(folder: Path) -> str:
    try:
        return os.readlink(folder / ".snapshots" / "newest")
    except FileNotFoundError:
        return ""


class Run:
    """One run of a section."""

    def __init__(self, section: str, args):
        self.section, self.args, self.work, self.quick = section, args, args.work, args.quick
        self.rounds = args.rounds or (3 if args.quick else 5)
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.mounts: dict[str, Mount] = {}
        self.native = self.work / "native"
        self.native.mkdir()

    def mount(self, side: str, options: str, target: str = "ckptfs") -> Mount:
        mount = Mount(target, self.args.binary, self.work / f"{side}-store", self.work / f"{side}-mnt")
        self.mounts[side] = mount
        self.start(side, options)
        return mount

    def start(self, side: str, options: str) -> None:
        mount = self.mounts[side]
        mount.mount(BINDFS if mount.target == "bindfs" else f"{COMMON},{options}", self.work / f"{side}.log")
        if mount.target == "ckptfs" and "passthrough=on" in options and not mount.status()["passthrough"]["on"]:
            raise MountError(f"the mount for '{side}' is without passthrough; `ckptfs status` says why")

    def unmount(self, side: str) -> None:
        self.mounts.pop(side).unmount()

    def folder(self, side: str) -> Path:
        return self.native if side == "native" else self.mounts[side].folder

    def wanted(self, name: str) -> bool:
        """Whether the row is among those that were asked for."""
        return self.args.only in name

    def add(self, *rows: Row) -> None:
        self.rows += rows

    def turn(self, rows: list[Row], sides: tuple[str, ...], measure: Callable[[str], tuple[float, ...]], *,
             rounds: int = 0) -> None:
        """One warm-up and the rounds: in each, every side once. `measure` gives a figure for each of the rows."""
        for round_number in range((rounds or self.rounds) + 1):
            shift = round_number % len(sides)
            for side in sides[shift:] + sides[:shift]:
                figures = measure(side)
                for row, figure in zip(rows, figures, strict=True):
                    if round_number:
                        row.add(side, figure)
        for row in rows:
            row.figures = {side: row.figures[side] for side in sides}
        self.add(*rows)
        self.say(", ".join(row.name for row in rows))

    def say(self, what: str) -> None:
        print(f"  {time.strftime('%H:%M:%S')} {self.section}: {what}: done", file=sys.stderr, flush=True)

    def wait_deleted(self, side: str, limit_bytes: int) -> None:
        """A mount deletes what was unlinked a moment later, on a thread of its own: the native unlink has paid for that."""
        mount = self.mounts.get(side)
        if mount and mount.target == "ckptfs":
            wait_for("the deletion of unlinked files", lambda: mount.status()["hot_bytes"] <= limit_bytes)

    def wait_version(self, side: str, folder: Path, before: str) -> str:
        """The newest version of a run once it is another one than `before`; a folder without a mount has none."""
        if side not in self.mounts or self.mounts[side].target != "ckptfs":
            return ""
        wait_for(f"a version of {folder}", lambda: newest_version(folder) != before, IDLE_SECONDS)
        return newest_version(folder)

    def wait_idle(self, side: str, ready: Callable[[dict], bool] = lambda _: True) -> None:
        """Until a mount has nothing left to seal and to encode anew, and `ready` says so of its status."""
        mount = self.mounts.get(side)
        if mount and mount.target == "ckptfs":
            mount.wait_still(STILL_SECONDS, IDLE_SECONDS, ready)

    def give_back(self, side: str) -> None:
        """Gives back what removed versions have taken."""
        mount = self.mounts.get(side)
        if mount and mount.target == "ckptfs":
            subprocess.run([mount.binary, "gc", mount.folder], check=True, stdout=subprocess.DEVNULL, timeout=IDLE_SECONDS)

    def report(self) -> dict:
        program = subprocess.run([self.args.binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        return {"section": self.section, "quick": self.quick, "rounds": self.rounds, "program": program,
                "machine": machine(self.work), "rows": [row.as_json() for row in self.rows], "notes": self.notes}

    def end(self) -> None:
        for side in list(self.mounts):
            self.unmount(side)

    def clear(self) -> None:
        for mount in self.mounts.values():
            mount.clear()


def main(section: str, measure: Callable[[Run], None]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--only", default="")
    run = Run(section, parser.parse_args())
    # Whoever ends this finds nothing mounted afterwards.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("error: ended by SIGTERM"))
    try:
        measure(run)
        report = run.report()
        run.end()
    except (MountError, OSError, subprocess.SubprocessError) as error:
        run.clear()
        sys.exit(f"error: {error}")
    except BaseException:
        run.clear()
        raise
    if not run.rows:
        sys.exit(f"error: no row of '{section}' has '{run.args.only}' in its name")
    write(report, run.args.json)
    show(report, run.rows)

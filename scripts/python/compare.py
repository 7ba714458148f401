"""Puts ckptfs beside what people would take instead. Every side gets the same saves in the same order by the same writer.

Several trainings take turns: each saves once, then they train on, which here is the time until the disk has written it
all, and ckptfs has made versions. Nothing of that time counts as blocked. Each side begins empty in each round, and sides
take turns in turning order, so that a disk that slows down slows all of them; the warm-up is a short round.

A save that comes back with other bytes ends the run, and so does a tool that fails. Whatever ends it, the side that is
being measured is stopped and its folder removed.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import compare_table
import series_files
from compare_measure import Cpu, Save, restored, write
from compare_mounts import Bindfs, Ckptfs
from compare_sides import Borg, Btrfs, Duperemove, Restic, Side, Zstd
from mounts import MountError

SIDES = (Side, Bindfs, Ckptfs, Zstd, Btrfs, Duperemove, Restic, Borg)
TRAININGS = ("adamw-far", "adamw-near", "bf16-finetune", "lora")
# Whose saves are timed one by one: one kind and size of file, the largest. Those of the last one are restored.
TIMED = ("adamw-far", "adamw-near")
RESTORED = TIMED[-1]
WARM_UP_SAVES = 2
SYNCED_SAVES = 3


def steps_of(series: Path, count: int) -> list[list[Save]]:
    """The saves that the trainings make, one of each at a time, all in memory."""
    steps: list[list[Save]] = []
    lists = {name: series_files.load(series / name)["saves"] for name in TRAININGS}
    for number in range(count):
        steps.append([])
        for name, saves in lists.items():
            if number >= len(saves):
                raise MountError(f"{series / name} has {len(saves)} saves, not {count}")
            for file in saves[number]["files"]:
                data = b"".join((series / name / part).read_bytes() for part in file["parts"])
                steps[-1].append(Save.of(name, number, Path(file["as"]).name, data))
    return steps


def save_all(side: Side, steps: list[list[Save]]) -> dict:
    """What the saves cost the trainings and the machine, until the side has nothing left to do."""
    cpu, begin = Cpu(side.daemons()), time.perf_counter()
    blocked, kept, timed = 0.0, 0.0, []
    for step in steps:
        for save in step:
            seconds = write(side.path(save), save.data)
            began = time.perf_counter()
            side.keep(save)
            tool_seconds = time.perf_counter() - began if side.has_tool else 0.0
            blocked, kept = blocked + seconds, kept + seconds + tool_seconds
            if save.training in TIMED:
                timed.append((seconds, seconds + tool_seconds))
        os.sync()
        side.between(step)
    saved = time.perf_counter()
    side.finish()
    os.sync()
    return {"write_all": blocked, "kept_all": kept, "write": [one for one, _ in timed], "kept": [both for _, both in timed],
            "cpu": cpu.seconds(), "after": time.perf_counter() - saved, "elapsed": time.perf_counter() - begin}


def synced(side: Side, save: Save) -> list[float]:
    """Seconds of saves with fsync, each under a new name; what is not written back yet is, off the clock."""
    seconds = []
    for number in range(SYNCED_SAVES):
        os.sync()
        seconds.append(write(side.folder / f"synced-{number}" / save.name, save.data, sync=True))
    return seconds


def measure(kind: type[Side], args, steps: list[list[Save]]) -> tuple[str, dict]:
    """One side, from nothing to nothing: its name and its figures."""
    work = args.work / kind.__name__.lower()
    side = kind(work, args.binary, sum(len(save.data) for step in steps for save in step))
    try:
        side.start()
        row = save_all(side, steps)
        row["disk"], row["history"] = side.disk()
        oldest, newest = (next(save for save in step if save.training == RESTORED) for step in (steps[0], steps[-1]))
        row["newest"], row["oldest"] = restored(side, newest), restored(side, oldest)
        row["synced"] = synced(side, newest)
        row["verified"] = side.verified
        return side.name, row
    finally:
        with undisturbed():
            try:
                side.stop()
            finally:
                shutil.rmtree(work, ignore_errors=True)
                os.sync()


@contextlib.contextmanager
def undisturbed():
    """A second Ctrl-C does not stop the cleaning up."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(args) -> dict[str, list[dict]]:
    """Figures of every side in every round."""
    steps = steps_of(args.series, args.saves)
    rows: dict[str, list[dict]] = {}
    for number in range(args.rounds + 1):
        shift = number % len(SIDES)
        for kind in SIDES[shift:] + SIDES[:shift]:
            begin = time.perf_counter()
            name, row = measure(kind, args, steps if number else steps[:WARM_UP_SAVES])
            # The warm-up is in the order of the table.
            rows.setdefault(name, [])
            if number:
                rows[name].append(row)
            what = f"round {number}" if number else "warm-up"
            print(f"  {what}: {name}: {time.perf_counter() - begin:.1f} s", file=sys.stderr, flush=True)
    args.saved = [len(save.data) for step in steps for save in step]
    args.timed_bytes = max(len(save.data) for step in steps for save in step if save.training == RESTORED)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", type=Path)
    parser.add_argument("work", type=Path)
    for name, kind in (("--binary", str), ("--saves", int), ("--rounds", int), ("--out", Path)):
        parser.add_argument(name, type=kind, required=True)
    args = parser.parse_args()
    args.work = args.work.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        machine = compare_table.machine(args.work, args.binary)
        rows = run(args)
    except KeyboardInterrupt:
        sys.exit(130)
    except (MountError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"error: {error}")
    series = {"trainings": TRAININGS, "timed": TIMED, "restored": RESTORED, "timed_bytes": args.timed_bytes, "saves": len(args.saved),
              "bytes": sum(args.saved), "rounds": args.rounds}
    text = compare_table.text(machine, series, rows)
    (args.out / "compare.json").write_text(json.dumps({"machine": machine, "series": series, "sides": rows}, indent=2) + "\n")
    (args.out / "compare.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()

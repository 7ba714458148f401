"""Saves through a mount against the same call on the native folder beside it: open to close, and with fsync after it.

Order of a turn: the save of the turn before is deleted, the mount has deleted and sealed what it was to, all is written
back, the state is changed; then the clock runs. `settle=1h` keeps sealing out of the rows that are not about it; a
CheckpointManager makes a version with each save all the same, which is waited for.
"""

import os
import time

import bench_shards
from bench_proc import sealing_seconds, touch
from bench_run import GB, Run, main
from bench_table import Bar, Row
from bench_writers import WRITERS, TensorFlow, Torch, Writer
from mounts import MountError, wait_for

SIZES = {"100 MB": GB // 10, "1 GB": GB, "4 GB": 4 * GB}
QUICK_SIZES = {"20 MB": GB // 50, "100 MB": GB // 10}
SHARDS = 8
# A small save is over so quickly that five say little.
SMALL_BYTES, SMALL_FACTOR = GB // 4, 3
TRIES = 5
# Of CPU time: by then a file is being read and encoded.
BEGUN_SECONDS = 0.02
QUIET = "settle=1h,max_to_keep=1"


def prepare(run: Run, side: str, writer: Writer):
    """The folder of a turn, when nothing of the turns before is left to do."""
    folder = run.folder(side) / type(writer).__name__
    folder.mkdir(exist_ok=True)
    writer.remove(folder)
    if isinstance(writer, TensorFlow):
        run.give_back(side)
    run.wait_deleted(side, writer.size // 2)
    os.sync()
    writer.change()
    touch(run.work, writer.size)
    return folder


def save_and_sync(run: Run, side: str, writer: Writer) -> tuple[float, float]:
    """GB/s of the save, and of the save with an fsync after it."""
    folder = prepare(run, side, writer)
    seconds = writer.timed(folder)
    with_sync = seconds + writer.synced(folder)
    if isinstance(writer, TensorFlow):
        # Not while another side is timed.
        writer.versions[folder] = run.wait_version(side, folder, writer.versions.get(folder, ""))
    return writer.size / GB / seconds, writer.size / GB / with_sync


def single(run: Run) -> None:
    for label, size in (QUICK_SIZES if run.quick else SIZES).items():
        for kind in WRITERS:
            name = f"{kind.name} {label}"
            if not run.wanted(name):
                continue
            writer = kind(size)
            rows = [Row(name, "GB/s", [Bar("passthrough", 0.97, "native")]),
                    Row(f"{name} + fsync", "GB/s", [Bar("passthrough", 0.97, "native")])]
            rounds = run.rounds * SMALL_FACTOR if size <= SMALL_BYTES else run.rounds
            run.turn(rows, ("native", "passthrough"), lambda side, writer=writer: save_and_sync(run, side, writer),
                     rounds=rounds)
            leave(run, writer)


def leave(run: Run, writer: Writer) -> None:
    """The disk is free again for the next row."""
    for side in ("native", *run.mounts):
        folder = run.folder(side) / type(writer).__name__
        if folder.is_dir():
            writer.remove(folder)
            run.give_back(side)
        run.wait_deleted(side, GB // 100)


def shards(run: Run) -> None:
    """Eight processes at once; from the first open to the last close."""
    size = GB // 10 if run.quick else GB
    row = Row(f"{SHARDS} processes at once, {size / GB:g} GB in sum", "GB/s", [Bar("passthrough", 0.97, "native")])
    with bench_shards.Savers(SHARDS, size // SHARDS) as savers:

        def measure(side: str) -> tuple[float]:
            folder = run.folder(side) / "shards"
            folder.mkdir(exist_ok=True)
            for path in folder.iterdir():
                path.unlink()
            run.wait_deleted(side, size // 2)
            run.give_back(side)
            os.sync()
            touch(run.work, size)
            return (savers.bytes / GB / savers.save(folder),)

        run.turn([row], ("native", "passthrough"), measure)
    for side in ("native", "passthrough"):
        for path in (run.folder(side) / "shards").iterdir():
            path.unlink()
        run.wait_deleted(side, GB // 100)


def without_passthrough(run: Run) -> None:
    size = GB // 10 if run.quick else GB
    run.mount("daemon", f"passthrough=off,{QUIET}")
    run.mount("bindfs", "", "bindfs")
    writer = Torch(size)
    name = f"torch.save {size / GB:g} GB without passthrough"
    rows = [Row(name, "GB/s", [Bar("daemon", 2.0, "bindfs")]), Row(f"{name} + fsync", "GB/s")]
    run.turn(rows, ("native", "daemon", "bindfs"), lambda side: save_and_sync(run, side, writer))
    leave(run, writer)
    run.unmount("daemon")
    run.unmount("bindfs")


def while_sealing(run: Run) -> None:
    """Against a native save with nothing beside it. What is sealed is the save before, of the same size."""
    size = GB // 10 if run.quick else GB
    mount = run.mount("while sealing", "passthrough=on,settle=300ms,max_to_keep=1")
    first, second, sides = Torch(size), Torch(size), ("native", "while sealing")

    def beside(side: str) -> float | None:
        """None when the sealing was over before the save was."""
        for name, writer in (("one", first), ("two", second)):
            for each in sides:
                (folder := run.folder(each) / name).mkdir(exist_ok=True)
                writer.remove(folder)
            writer.change()
        run.wait_idle("while sealing", lambda status: status["hot_bytes"] <= size // 2)
        run.give_back("while sealing")
        os.sync()
        touch(run.work, 2 * size)
        if side == "native":
            return second.timed(run.folder(side) / "two")
        sealed, began = mount.status()["sealing"]["sealed_files"], sealing_seconds(mount.pid)
        first.save(run.folder(side) / "one")
        wait_for("the beginning of sealing", lambda: sealing_seconds(mount.pid) > began + BEGUN_SECONDS)
        seconds = second.timed(run.folder(side) / "two")
        return seconds if mount.status()["sealing"]["sealed_files"] == sealed else None

    def measure(side: str) -> tuple[float]:
        for _ in range(TRIES):
            if seconds := beside(side):
                return (size / GB / seconds,)
        raise MountError(f"{size} bytes are sealed faster than they are saved: nothing can be measured beside it")

    row = Row(f"torch.save {size / GB:g} GB while the last is sealed", "GB/s", [Bar("while sealing", 0.8, "native")])
    run.turn([row], sides, measure)
    run.unmount("while sealing")


def measure_all(run: Run) -> None:
    run.mount("passthrough", f"passthrough=on,{QUIET}")
    single(run)
    for name, part in (("8 processes at once", shards), ("without passthrough", without_passthrough),
                       ("while sealing", while_sealing)):
        if run.wanted(name):
            began = time.monotonic()
            part(run)
            run.notes.append(f"{name}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main("save", measure_all)

"""Names: how many a second, whole trees of small files, and what grows with their number.

Sides: a native folder, a mount with passthrough, bindfs. What is looked up is first dropped from the kernel's tables of
names and attributes, so that the mounts are asked.
"""

import os
import time

import bench_trees
from bench_proc import drop_caches
from bench_proc import run as tool
from bench_run import Run, main
from bench_table import Bar, Row

MIB = 1 << 20
MOUNTED = "passthrough=on,settle=300ms"
SIDES = ("native", "passthrough", "bindfs")


def timed(work) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def rates(run: Run) -> None:
    """Empty files of one folder."""
    count = 500 if run.quick else 5000
    names = [f"file-{number:05}" for number in range(count)]

    def measure(side: str) -> tuple[float, ...]:
        folder = run.folder(side) / "rates"
        folder.mkdir()
        paths, moved = [str(folder / name) for name in names], [str(folder / f"{name}-moved") for name in names]

        def create() -> None:
            for path in paths:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))

        def each(call, *lists):
            return lambda: [call(*arguments) for arguments in zip(*lists, strict=True)]

        seconds = [timed(create)]
        drop_caches(2)
        seconds.append(timed(lambda: os.listdir(folder)))
        drop_caches(2)
        for work in (each(os.stat, paths), each(os.rename, paths, moved), each(os.unlink, moved)):
            seconds.append(timed(work))
        folder.rmdir()
        return tuple(count / one for one in seconds)

    rows = [Row(f"rates: {name}", "1/s") for name in ("create", "readdir", "stat", "rename", "unlink")]
    run.turn(rows, SIDES, measure)


def many_checkpoints(run: Run) -> None:
    """Files of 1 MiB stand for checkpoints of 1 GB: what is removed is names, records and references."""
    count = 50 if run.quick else 1000
    name = f"rm -rf of {count} checkpoints"
    if not run.wanted(name):
        return
    row = Row(name, "s", [Bar("passthrough", 1.0, at_least=False)])
    run.mount("sealed", MOUNTED)
    folders = {"native": run.native, "passthrough": run.folder("passthrough"), "sealed": run.folder("sealed")}
    for side, folder in folders.items():
        for number in range(count):
            checkpoint = folder / "many" / f"checkpoint-{number}"
            checkpoint.mkdir(parents=True)
            (checkpoint / "model.bin").write_bytes(os.urandom(MIB))
    sealed = run.mounts["sealed"]
    run.wait_idle("sealed", lambda status: status["sealing"]["sealed_files"] >= count)
    for side, folder in folders.items():
        os.sync()
        row.add(side, timed(lambda: tool("rm", "-rf", folder / "many")))
    row.bars.append(Bar("sealed", 1.0, at_least=False))
    run.add(row)
    run.notes.append(f"{name}: files of 1 MiB that stand for 1 GB; once, no warm-up; 'passthrough' is mounted with "
                     f"settle=1h, 'sealed' has all of it in packs, in {sealed.status()['versions']} versions")
    run.unmount("sealed")
    run.say(name)


def large_run(run: Run) -> None:
    """`ckptfs snapshot` after one file has changed, less what starting the command costs."""
    count = 2000 if run.quick else 100_000
    name = f"a version of {count} files after one changed"
    if not run.wanted(name):
        return
    mount = run.mount("large", MOUNTED)
    folder = mount.folder / "run"
    for number in range(count):
        if number % 1000 == 0:
            (part := folder / f"part-{number // 1000:03}").mkdir(parents=True)
        (part / f"file-{number:06}").write_bytes(b"%d" % number)
    first = timed(lambda: tool(mount.binary, "snapshot", folder))
    run.wait_idle("large")
    row = Row(name, "ms", [Bar("large", 50.0, at_least=False)])
    starts = Row("start of the command, taken off above", "ms")
    for round_number in range(run.rounds + 1):
        (folder / "part-000" / "file-000007").write_bytes(b"changed %d" % round_number)
        start = timed(lambda: tool(mount.binary, "--version"))
        took = timed(lambda: tool(mount.binary, "snapshot", folder))
        if round_number:
            starts.add("large", start * 1000)
            row.add("large", (took - start) * 1000)
    run.add(row, starts)
    run.notes.append(f"the first version of {count} files: {first:.2f} s")
    run.unmount("large")
    run.say(name)


def measure_all(run: Run) -> None:
    run.mount("passthrough", "passthrough=on,settle=1h")
    run.mount("bindfs", "", "bindfs")
    if run.wanted("rates"):
        rates(run)
    bench_trees.measure(run, SIDES)
    many_checkpoints(run)
    large_run(run)


if __name__ == "__main__":
    main("names", measure_all)

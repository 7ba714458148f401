"""Measures a mount against the folder beside it. Each figure is a median; sides take turns, so that a disk that slows
down slows all of them.

Sides: `native` (a folder of the disk), `passthrough`, `daemon` (passthrough off), `bindfs`. The three mounts stay mounted
throughout. Files are written from random bytes in memory, as large as the file, changed in every 4 KiB before each save
and before its clock runs: no chunk of a save is known already, within the file or from the round before. The writer only
calls write(2); the row of the writer alone, to tmpfs, shows that it is not what is measured.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import sys
import time

from bench_proc import touch
from mounts import Mount, MountError, wait_for

MIB = 1 << 20
SMALL_BYTES = 4096


def change(data: bytearray, stamp: int) -> None:
    """Other bytes in every 4 KiB, from `stamp`."""
    for offset in range(0, len(data), SMALL_BYTES):
        data[offset:offset + 16] = (stamp << 64 | offset).to_bytes(16, "little")


def save(path: pathlib.Path, data: bytearray, *, sync: bool) -> float:
    """Seconds to make a new file of `data` in 1 MiB writes and close it."""
    pieces = [memoryview(data)[offset:offset + MIB] for offset in range(0, len(data), MIB)]
    begin = time.perf_counter()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for piece in pieces:
        if os.write(fd, piece) != MIB:
            raise MountError(f"{path}: a short write")
    if sync:
        os.fsync(fd)
    os.close(fd)
    return time.perf_counter() - begin


def read(path: pathlib.Path, size: int, buffer: bytearray) -> float:
    """Seconds to read the file through once, in 1 MiB reads."""
    begin, total = time.perf_counter(), 0
    fd = os.open(path, os.O_RDONLY)
    while done := os.readv(fd, [buffer]):
        total += done
    os.close(fd)
    if total != size:
        raise MountError(f"{path}: read {total} of {size} bytes")
    return time.perf_counter() - begin


def small(folder: pathlib.Path, count: int) -> float:
    """Seconds for `count` times create, write 4 KiB, close, unlink."""
    data, name = os.urandom(SMALL_BYTES), str(folder / "small")
    begin = time.perf_counter()
    for _ in range(count):
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, data)
        os.close(fd)
        os.unlink(name)
    return time.perf_counter() - begin


class Bench:
    def __init__(self, args):
        self.args, self.size = args, args.size_mib * MIB
        self.data = bytearray(os.urandom(self.size))
        self.buffer = bytearray(MIB)
        self.folders: dict[str, pathlib.Path] = {}
        self.mounts: dict[str, Mount] = {}
        self.results: dict[str, dict[str, list[float]]] = {}
        self.stamp = int(time.time())

    def prepare(self) -> None:
        work = self.args.work
        self.folders["native"] = work / "native"
        self.folders["native"].mkdir()
        # No version falls into the run by chance; what is sealed meanwhile is part of what a trainer would feel.
        for side, passthrough in (("passthrough", "on"), ("daemon", "off")):
            self.add(side, self.args.target, f"passthrough={passthrough},settle=1h")
        # As people mount it: names and attributes are kept for a second.
        self.add("bindfs", "bindfs", "attr_timeout=1,entry_timeout=1")

    def add(self, side: str, target: str, options: str) -> None:
        mount = Mount(target, self.args.binary, self.args.work / f"{side}-store", self.args.work / f"{side}-mnt")
        self.mounts[side], self.folders[side] = mount, mount.folder
        mount.mount(options, self.args.work / f"{side}.log")
        if target == "ckptfs" and mount.status()["passthrough"]["on"] != (side == "passthrough"):
            raise MountError(f"the mount for '{side}' has passthrough the other way; `ckptfs status` says why")

    def turn(self, row: str, sides: tuple[str, ...], unit: float, measure) -> None:
        """One warm-up and the rounds: in each, every side once, in turning order. `unit` / seconds is the figure."""
        figures = self.results[row] = {side: [] for side in sides}
        for number in range(self.args.rounds + 1):
            shift = number % len(sides)
            for side in sides[shift:] + sides[:shift]:
                seconds = measure(self.folders[side])
                if number:
                    figures[side].append(unit / seconds)
        print(f"  {row}: done", file=sys.stderr, flush=True)

    def save_fresh(self, folder: pathlib.Path, *, sync: bool) -> float:
        """A save to a new name; what the last one wrote is first removed and written back, off the clock."""
        path = folder / "save"
        path.unlink(missing_ok=True)
        self.wait_for_deletion(folder)
        os.sync()
        self.stamp += 1
        change(self.data, self.stamp)
        touch(self.args.work, self.size)
        return save(path, self.data, sync=sync)

    def wait_for_deletion(self, folder: pathlib.Path) -> None:
        """A mount deletes what was unlinked a moment later, on a thread of its own: the native unlink has paid for that."""
        mounts = [mount for mount in self.mounts.values() if mount.folder == folder.resolve() and mount.target == "ckptfs"]
        for mount in mounts:
            wait_for("the deletion of an unlinked file", lambda: mount.status()["hot_bytes"] < self.size // 2)

    def read_hot(self, folder: pathlib.Path) -> float:
        """The page-cached file that the last save left, after a read off the clock."""
        path = folder / "save"
        read(path, self.size, self.buffer)
        return read(path, self.size, self.buffer)

    def run(self) -> None:
        gigabytes, count = self.size / 1e9, self.args.small
        both, plain = ("native", "passthrough"), ("native", "daemon", "bindfs")
        every = ("native", "passthrough", "daemon", "bindfs")
        self.writer_alone(gigabytes)
        self.turn("save, GB/s", both, gigabytes, lambda folder: self.save_fresh(folder, sync=False))
        self.turn("save + fsync, GB/s", both, gigabytes, lambda folder: self.save_fresh(folder, sync=True))
        self.turn("save without passthrough, GB/s", plain, gigabytes, lambda folder: self.save_fresh(folder, sync=False))
        self.turn("read, page-cached, GB/s", every, gigabytes, self.read_hot)
        self.turn("create + 4 KiB + close + unlink, 1/s", every, count, lambda folder: small(folder, count))

    def writer_alone(self, gigabytes: float) -> None:
        """The speed of the writer itself: to memory, on no disk."""
        shared = pathlib.Path("/dev/shm")
        if not shared.is_dir() or shutil.disk_usage(shared).free < 2 * self.size:
            return
        path = shared / f"ckptfs-bench-{os.getpid()}"
        self.folders["tmpfs"] = path
        path.mkdir()
        try:
            self.turn("the writer alone, GB/s", ("tmpfs",), gigabytes,
                      lambda folder: save(folder / "save", self.data, sync=False))
        finally:
            shutil.rmtree(path)

    def end(self) -> None:
        for mount in self.mounts.values():
            mount.unmount()

    def report(self) -> dict:
        table = {row: {side: {"median": statistics.median(values), "least": min(values), "most": max(values)}
                       for side, values in sides.items()} for row, sides in self.results.items()}
        peaks = {side: mount.peak_kib() / 1024 for side, mount in self.mounts.items()}
        return {"size_mib": self.args.size_mib, "rounds": self.args.rounds, "kernel": os.uname().release,
                "cores": os.cpu_count(), "rows": table, "peak_memory_mib": peaks}


def show(report: dict) -> None:
    print(f"{report['size_mib']} MiB, medians of {report['rounds']}, Linux {report['kernel']}, {report['cores']} cores")
    print("| what | side | median | least | most | of native | of bindfs |\n| --- | --- | --- | --- | --- | --- | --- |")
    for row, sides in report["rows"].items():
        for side, figure in sides.items():
            cells = [f"{figure[key]:.4g}" for key in ("median", "least", "most")]
            for other in ("native", "bindfs"):
                cells.append(f"{figure['median'] / sides[other]['median']:.2f}" if other in sides else "")
            print(f"| {row} | {side} | " + " | ".join(cells) + " |")
    for side, peak in report["peak_memory_mib"].items():
        print(f"| peak memory of the daemon, MiB | {side} | {peak:.0f} | | | | |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    for name, kind in (("--binary", str), ("--target", str), ("--size-mib", int), ("--rounds", int)):
        parser.add_argument(name, type=kind, required=True)
    parser.add_argument("--small", type=int, default=2000)
    parser.add_argument("--json", type=pathlib.Path, required=True)
    bench = Bench(parser.parse_args())
    try:
        bench.prepare()
        bench.run()
        report = bench.report()
        bench.end()
    except (MountError, OSError) as error:
        for mount in bench.mounts.values():
            mount.clear()
        sys.exit(f"error: {error}")
    bench.args.json.write_text(json.dumps(report, indent=2) + "\n")
    show(report)


if __name__ == "__main__":
    main()

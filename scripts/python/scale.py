"""What a store costs by its size. Each figure is a median; the parts work on stores that are made once (tests/scale).

A part leaves a store as it was, or works on a copy. Names are asked for once after a mount, so the kernel knows none of
them; what the disk gives is in the page cache, so what is measured is the program. Commands tell their own peak of
memory, the daemon's is that of its process.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import time

import scale_table
from mounts import Mount, MountError, wait_for

OPTIONS = "max_to_keep=0,settle=200ms,scrub_rate=0"
FULL = {"files": 1_000_000, "versions": 10_000, "chunks": 10_000_000}
TINY = {"files": 2000, "versions": 2, "chunks": 200}
SIZES = ["0", "0.01", "0.1", "1"]
CHUNK_BYTES = 60 << 10
DIR_FILES = 100_000
RUN = "runs/run-000"
ROUNDS, LOOKUPS, READS = 3, 1000, 200
LIMIT_SECONDS = 1200


def counts(size: str) -> dict[str, int]:
    return {what: max(TINY[what], int(count * float(size))) for what, count in FULL.items()}


def content(size: dict[str, int], file: int) -> bytes:
    """The bytes of a file beside the runs, by the rule that tests/scale makes them by."""
    def chunk(n: int) -> bytes:
        return bytes([1 + n % 255]) * (CHUNK_BYTES + n // 255)

    return b"".join(chunk((file + part * (1 + file // size["chunks"])) % size["chunks"]) for part in range(2))


class Store:
    """One store of one size, its mount, and the figures of it."""

    def __init__(self, args, size: str):
        self.args, self.size, self.counts = args, size, counts(size)
        self.folder = args.work / f"store-{size}"
        self.mount = Mount("ckptfs", args.binary, self.folder, args.work / "mnt")
        self.log = args.work / "mount.log"
        self.figures: dict[str, list[float]] = {}
        self.random = random.Random(7)

    def make(self) -> None:
        if (self.folder / "format").exists():
            return
        words = [word for what, count in self.counts.items() for word in (f"--{what}", str(count))]
        unmade = self.folder.with_suffix(".new")
        shutil.rmtree(unmade, ignore_errors=True)
        subprocess.run([self.args.maker, unmade, *words, "--chunk-bytes", str(CHUNK_BYTES)], check=True)
        self.mount.store = unmade
        # What only a first mount does.
        self.mount.mount(OPTIONS, self.log)
        self.mount.unmount()
        self.folder.rmdir()
        unmade.rename(self.folder)
        self.mount.store = self.folder

    def note(self, what: str, value: float) -> None:
        self.figures.setdefault(what, []).append(value)

    def timed(self, what: str, work) -> None:
        begin = time.perf_counter()
        work()
        self.note(what, time.perf_counter() - begin)

    def command(self, what: str | None, *words: str) -> str:
        """Runs the program; notes seconds, and memory where it works in the store itself."""
        begin = time.perf_counter()
        with open(self.args.work / "out", "wb+") as out:
            process = subprocess.Popen([self.args.binary, *words], stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=subprocess.DEVNULL)
            peak = watched(process)
            took = time.perf_counter() - begin
            out.seek(0)
            said = out.read().decode()
        # 3: done, and there are differences.
        if process.returncode not in (0, 3):
            raise MountError(f"{' '.join(words)}: status {process.returncode}")
        if what:
            self.note(what, took)
            if str(self.mount.store) in words:
                self.note(f"{what}, memory", peak / 1024)
        return said

    def start(self) -> None:
        self.mount.mount(OPTIONS, self.log)

    def warm(self) -> None:
        """Everything is read once, so that the page cache has it if it has room for it."""
        subprocess.run(["find", self.mount.store, "-type", "f", "-exec", "cat", "{}", "+"], check=True,
                       stdout=subprocess.DEVNULL)

    def path(self, below: str) -> str:
        return str(self.mount.folder / below)

    def file(self, number: int) -> str:
        return self.path(f"files/d{number // DIR_FILES:03}/f{number % DIR_FILES:06}")

    def some_files(self, count: int) -> list[int]:
        return self.random.sample(range(self.counts["files"]), count)

    # Parts.

    def part_mount(self) -> None:
        for _ in range(ROUNDS):
            self.timed("mount", self.start)
            self.timed("unmount", self.mount.unmount)
        for _ in range(ROUNDS):
            self.start()
            pathlib.Path(self.path("touched")).write_bytes(b"x")
            self.mount.kill()
            subprocess.run(["umount", "-l", self.mount.folder], check=True)
            self.timed("mount after a kill", self.start)
            os.unlink(self.path("touched"))
            if self.figures.get("daemon's memory, just mounted") is None:
                self.note("daemon's memory, just mounted", self.mount.peak_kib() / 1024)
            self.mount.unmount()

    def part_names(self) -> None:
        self.warm()
        for _ in range(ROUNDS):
            self.start()
            paths = [self.file(number) for number in self.some_files(LOOKUPS)]
            for folder in {os.path.dirname(path) for path in paths}:
                os.stat(folder)
            begin = time.perf_counter()
            for path in paths:
                os.stat(path)
            self.note("lookup of one name", (time.perf_counter() - begin) / len(paths))
            self.timed("readdir", lambda: os.listdir(self.path("files/d000")))
            numbers = self.some_files(READS)
            for number in numbers:
                os.stat(self.file(number))
            took = 0.0
            for number in numbers:
                begin = time.perf_counter()
                data = pathlib.Path(self.file(number)).read_bytes()
                took += time.perf_counter() - begin
                if data != content(self.counts, number):
                    raise MountError(f"file {number} reads back wrong")
            self.note("first read of a file of 2 chunks", took / len(numbers))
            self.note("daemon's memory, names and reads", self.mount.peak_kib() / 1024)
            self.mount.unmount()
        del self.figures["daemon's memory, names and reads"][1:]

    def part_save(self) -> None:
        """A save, and the version of it: on a copy, because it stays."""
        with self.copy():
            self.start()
            newest, run = self.path(f"{RUN}/.snapshots/newest"), self.path(RUN)
            for n in range(ROUNDS + 1):
                before = os.readlink(newest)
                data = npy(self.random.randbytes(16 << 20))
                begin = time.perf_counter()
                with open(f"{run}/save.npy.tmp", "wb") as file:
                    file.write(data)
                os.rename(f"{run}/save.npy.tmp", f"{run}/save.npy")
                saved = time.perf_counter()
                wait_for("a version", lambda: os.readlink(newest) != before, LIMIT_SECONDS)
                if n > 0:
                    self.note("save of 16 MiB", saved - begin)
                    self.note("save until it is a version", time.perf_counter() - begin)
                    self.timed("snapshot", lambda: self.command(None, "snapshot", run))
            self.note("daemon's memory, saves", self.mount.peak_kib() / 1024)
            self.mount.unmount()

    def part_history(self) -> None:
        self.start()
        run, folder = self.path(RUN), str(self.mount.folder)
        last = str(self.counts["versions"])
        for _ in range(ROUNDS):
            self.timed(".snapshots, listed", lambda: os.listdir(f"{run}/.snapshots"))
            self.timed(".snapshots, ls -l", lambda: [e.stat() for e in os.scandir(f"{run}/.snapshots")])
            self.command("log", "log", run)
            self.command("log -n 10", "log", run, "-n", "10")
            self.command("status", "status", folder)
            self.command("show", "show", last, run)
            self.command("diff", "diff", str(int(last) - 1), last, run)
            self.command("tag and untag", "tag", last, "a", run)
            self.command(None, "untag", "a", run)
            self.command("prune --dry-run", "prune", run, "--dry-run")
        self.command("stats, a version", "stats", f"{run}/.snapshots/{int(last):06}")
        self.note("daemon's memory, history", self.mount.peak_kib() / 1024)
        self.command("stats --all", "stats", "--all", folder)
        self.note("daemon's memory, stats --all", self.mount.peak_kib() / 1024)
        self.mount.unmount()

    def part_space(self) -> None:
        """Unmounted, so that no background takes part; half of the versions go."""
        with self.copy():
            store, keep = str(self.mount.store), self.counts["versions"] // 2
            self.command("check", "check", store)
            self.command("gc --dry-run", "gc", store, "--dry-run")
            self.command("gc, first", "gc", store)
            config = pathlib.Path(store) / "config.toml"
            config.write_text(config.read_text().replace('max_to_keep = "0"', f'max_to_keep = "{keep}"'))
            self.command("expire half of the versions", "prune", store, "--all")
            self.command("gc of half of the versions", "gc", store)
            if "no damage" not in self.command("check after gc", "check", store):
                raise MountError("gc has left damage")

    def copy(self):
        return Copy(self)


class Copy:
    """While it is there, the store's mount is that of a copy."""

    def __init__(self, store: Store):
        self.store, self.folder = store, store.args.work / "copy"

    def __enter__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.store.folder, self.folder, ignore=shutil.ignore_patterns("control.sock"))
        (self.folder / "config.toml").write_text('max_to_keep = "0"\n')
        os.sync()
        self.store.mount.store = self.folder

    def __exit__(self, *_) -> None:
        self.store.mount.clear()
        self.store.mount.store = self.store.folder
        shutil.rmtree(self.folder)


def watched(process: subprocess.Popen) -> int:
    """Waits for a process; its peak of memory in KiB. The kernel's own figure for a child has its parent's in it."""
    peak, status = 0, pathlib.Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak = int(line.split()[1])
        time.sleep(0.002)
    return peak


def npy(data: bytes) -> bytes:
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({len(data) // 4},), }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--maker", required=True)
    parser.add_argument("--size", action="append", choices=SIZES)
    parser.add_argument("--part", action="append", choices=["mount", "names", "save", "history", "space"])
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    kept = args.work / "scale.json"
    results = json.loads(kept.read_text())["stores"] if kept.exists() else {}
    for size in [] if args.table else args.size or SIZES:
        store = Store(args, size)
        store.make()
        try:
            for part in args.part or ["mount", "names", "save", "history", "space"]:
                getattr(store, f"part_{part}")()
                results.setdefault(size, {}).update(
                    {what: statistics.median(values) for what, values in store.figures.items()})
                kept.write_text(json.dumps({"machine": scale_table.machine(), "stores": results}, indent=1))
                print(f"size {size}: {part} is measured", flush=True)
        finally:
            store.mount.clear()
        if not args.keep:
            shutil.rmtree(store.folder)
    scale_table.show(results, {size: counts(size) for size in SIZES})


if __name__ == "__main__":
    main()

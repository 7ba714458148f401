"""Whole stores: copies each series into a mount of its own, waits until nothing is left to do, and measures the store.

    store_bench.py SERIES WORK --binary CKPTFS [NAME...]

A save is copied as its script writes it, and the next one only when it has become a version. Then every file of every
version is read through `.snapshots` and compared with what was saved; a byte that differs ends the run.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import series_files
from mounts import Mount, MountError, wait_for
from store_size import APART, counted, disk_bytes

OPTIONS = "hot_cache=0,settle=500ms,max_to_keep=0"
PIECE_BYTES = 1 << 20
VERSION_SECONDS, IDLE_SECONDS = 300, 1800
# Nothing is left to do when status says so for this long.
STILL_SECONDS = 3
# Total percent of the best pipeline measured for the design, deltas of depth 1; in brackets there: after the first.
WANTED = {"adamw-far": 81.2, "adamw-near": 72.9, "bf16-far": 58.5, "bf16-near": 27.5, "bf16-finetune": 25.6,
          "frozen": 39.2, "lora": 19.0}


def copy(parts: list[Path], to: Path) -> str:
    """Writes a file in place from its parts; returns the hash of what was written."""
    hashed = hashlib.blake2b()
    to.parent.mkdir(parents=True, exist_ok=True)
    with open(to, "wb", buffering=0) as out:
        for part in parts:
            with open(part, "rb", buffering=0) as file:
                while piece := file.read(PIECE_BYTES):
                    hashed.update(piece)
                    out.write(piece)
    return hashed.hexdigest()


def hash_of(path: Path) -> str:
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


class StoreBench:
    """One series in one store."""

    def __init__(self, folder: Path, work: Path, binary: str):
        self.folder, self.binary, self.saves = folder, binary, series_files.load(folder)["saves"]
        self.mount = Mount("ckptfs", binary, work / "store", work / "mnt")
        self.run = self.mount.folder / "run"
        self.log = work / "mount.log"
        # Number of the version, its files and their hashes; bytes of each save.
        self.versions: list[tuple[str, dict[str, str]]] = []
        self.bytes: list[int] = []
        self.after_first = 0

    def newest(self) -> str:
        try:
            return os.readlink(self.run / ".snapshots/newest")
        except FileNotFoundError:
            return ""

    def save_all(self) -> None:
        for save in self.saves:
            before, hashes, size = self.newest(), {}, 0
            for file in save["files"]:
                parts = [self.folder / part for part in file["parts"]]
                hashes[file["as"]] = copy(parts, self.run / file["as"])
                size += sum(part.stat().st_size for part in parts)
            wait_for("a version of a save", lambda: self.newest() != before, VERSION_SECONDS)
            self.versions.append((self.newest(), hashes))
            self.bytes.append(size)
            if len(self.bytes) == 1:
                self.idle()
                self.after_first = counted(disk_bytes(self.mount.store))

    def idle(self) -> None:
        self.mount.wait_still(STILL_SECONDS, IDLE_SECONDS)

    def check(self) -> None:
        """Every version, by what it has that is new in its save."""
        for number, hashes in self.versions:
            for name, wanted in hashes.items():
                if hash_of(self.run / ".snapshots" / number / name) != wanted:
                    raise MountError(f"{name} of version {number} is not what was saved")

    def collect(self) -> None:
        """What gc would not do by itself yet."""
        subprocess.run([self.binary, "gc", str(self.mount.folder)], check=True, stdout=subprocess.DEVNULL)

    def measure(self) -> dict:
        self.mount.mount(OPTIONS, self.log)
        self.run.mkdir()
        self.save_all()
        self.idle()
        idle = disk_bytes(self.mount.store)
        self.check()
        self.collect()
        collected = disk_bytes(self.mount.store)
        self.check()
        status = self.mount.status()
        if status["health"] != "ok" or status["last_errors"]:
            raise MountError(f"the mount is not well: {status['health']}, {status['last_errors']}")
        self.mount.unmount(wait=True)
        self.mount.mount(OPTIONS, self.log)
        self.check()
        self.mount.unmount()
        return {"saves": len(self.bytes), "bytes": self.bytes, "parts": idle, "after_first": self.after_first,
                "total": counted(idle), "collected": counted(collected), "reencoded": status["reencoded_saved_bytes"]}


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}" if whole else ""


def show(name: str, row: dict) -> None:
    whole, rest = sum(row["bytes"]), sum(row["bytes"][1:])
    total = f"{percent(row['total'], whole)} ({percent(row['total'] - row['after_first'], rest)})"
    beside = row["total"] - row["parts"]["packs"]
    print(f"| {name} | {row['saves']} | {whole / 1e6:.0f} | {total} | {percent(row['collected'], whole)} | {beside / 1e3:.0f} | "
          f"{WANTED.get(name, '')} |", flush=True)


def verdicts(rows: dict[str, dict]) -> None:
    missed = 0
    print("\n| target | what | measured | wanted |\n| --- | --- | --: | --: |")
    for name, row in rows.items():
        if name in WANTED:
            share = 100 * row["total"] / sum(row["bytes"])
            missed += share > WANTED[name]
            print(f"| {'MISS' if share > WANTED[name] else 'pass'} | {name}: whole store, % | {share:.1f} | <= {WANTED[name]} |")
    print(f"{missed} targets missed; every file of every version was read back as it was saved")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("names", nargs="*")
    args = parser.parse_intermixed_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = args.names or sorted(path.parent.name for path in args.series.glob("*/series.json"))
    print("\nWhole stores: packs, index, catalog, journal and all else but " + ", ".join(APART) + "\n\n| series | saves | MB | total % "
          "(after the first) | after gc % | beside packs, kB | depth 1 % |\n| --- | --: | --: | --: | --: | --: | --: |", flush=True)
    rows = {}
    for name in names:
        work = args.work / name
        work.mkdir(parents=True)
        bench = StoreBench(args.series / name, work, args.binary)
        try:
            rows[name] = bench.measure()
        except (MountError, OSError, subprocess.SubprocessError) as error:
            bench.mount.clear()
            sys.exit(f"error: {name}: {error}; the store is kept in {work}")
        except BaseException:
            # Stopped by somebody: the mount must not outlive this.
            bench.mount.clear()
            raise
        show(name, rows[name])
        shutil.rmtree(work)
    verdicts(rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()

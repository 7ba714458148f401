"""A store on each kind of filesystem: saves, versions, sealing, kills, other hosts, a lost journal; and what falls back.

Everything a user would notice is held against what was written. Prints a table (docs/filesystems.md is made of it); exit 1
when anything was not as it must be on one of them.
"""

import argparse
import contextlib
import errno
import json
import mmap
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import time

import grounds
from disk_bed import SEALING, check, put, same
from mounts import LIMIT_SECONDS, Mount, is_mounted, wait_for

MIB = 1 << 20
SAVES = 4
OTHER = "other-host"
AS_OTHER_HOST = ["unshare", "--uts", "sh", "-c", f'hostname {OTHER} && exec "$@"', "sh"]


def npy(data: bytes) -> bytes:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }" % len(data)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.ljust(117) + b"\n" + data


class Trial:
    """One store on one filesystem. `saved` is what the files must hold, `versions` what each version must."""

    def __init__(self, binary: str, work: pathlib.Path, here: pathlib.Path, elsewhere: pathlib.Path):
        self.binary, self.log, self.other_store = binary, work / "daemon.log", elsewhere / "store"
        self.mounts = Mount("ckptfs", binary, here / "store", work / "mnt")
        self.other = Mount("ckptfs", binary, here / "store", work / "other-mnt")
        self.run = self.mounts.folder / "run"
        self.saved: dict[str, bytes] = {}
        self.versions: dict[str, dict[str, bytes]] = {}
        self.random = random.Random(7)

    def ckptfs(self, *words, status: int = 0, as_other_host: bool = False) -> str:
        command = [*(AS_OTHER_HOST if as_other_host else []), self.binary, *map(str, words)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=LIMIT_SECONDS * 2, check=False)
        check(done.returncode == status, f"{' '.join(command)}: status {done.returncode}: {done.stdout.strip()}")
        return done.stdout

    def mount(self) -> None:
        self.mounts.mount(SEALING, self.log)

    def snapshot(self) -> None:
        """Others come by themselves; when they come depends on how quick the filesystem is."""
        number = json.loads(self.ckptfs("snapshot", self.run, "--json"))["number"]
        self.versions[f"{number:06}"] = dict(self.saved)

    def numbers(self) -> set[str]:
        return {name for name in os.listdir(self.run / ".snapshots") if name.isdigit()}

    def save(self, step: int) -> None:
        """As a trainer: temporary files, fsync, rename; a log that grows; a part of the weights changes."""
        weights = bytearray(self.saved.get("model.npy", npy(self.random.randbytes(8 * MIB))))
        weights[MIB:2 * MIB] = self.random.randbytes(MIB)
        files = {"model.npy": bytes(weights), "optimizer.npy": npy(self.random.randbytes(3 * MIB)),
                 "state.json": b'{"step": %d}\n' % step}
        for name, data in files.items():
            put(self.run / f"{name}.tmp", data)
            os.rename(self.run / f"{name}.tmp", self.run / name)
        line = f"step {step}\n".encode()
        with open(self.run / "log.txt", "ab") as log:
            log.write(line)
        files["log.txt"] = self.saved.get("log.txt", b"") + line
        self.saved.update(files)
        self.snapshot()

    def compare(self) -> None:
        check(self.numbers() >= set(self.versions), f"versions {sorted(self.numbers())}, not {sorted(self.versions)}")
        for folder, files in [(self.run, self.saved),
                              *((self.run / ".snapshots" / number, files) for number, files in self.versions.items())]:
            for name, data in files.items():
                same(folder / name, data)

    def sealed(self) -> None:
        wait_for("sealing", lambda: self.mounts.status()["hot_files"] == 0)

    # What is tried, in this order.

    def saves_versions_and_reads_back(self) -> None:
        self.run.mkdir()
        for step in range(SAVES):
            self.save(step)
        self.compare()

    def a_mapping_that_outlives_close_is_not_sealed(self) -> None:
        data = bytearray(self.random.randbytes(2 * MIB))
        path = self.mounts.folder / "mapped.bin"
        put(path, bytes(data))
        with open(path, "r+b") as file:
            mapping = mmap.mmap(file.fileno(), 0)
        with mapping:
            # It would be sealed five times over.
            time.sleep(0.5)
            mapping[MIB:MIB + 5] = data[MIB:MIB + 5] = b"later"
            mapping.flush()
        self.sealed()
        same(path, bytes(data))

    def holes_stay_holes(self) -> None:
        path, size = self.mounts.folder / "sparse.bin", 64 * MIB
        with open(path, "wb") as file:
            file.truncate(size)
            file.seek(40 * MIB)
            file.write(b"in the middle")
        self.sealed()
        with open(path, "rb") as file:
            check(os.fstat(file.fileno()).st_size == size, "the size of a sparse file")
            file.seek(40 * MIB - 3)
            check(file.read(19) == b"\0\0\0in the middle\0\0\0", "bytes of a sparse file")
        check(self.mounts.status()["stored_bytes"] < 40 * MIB, "holes take space in the store")

    def an_update_in_place_leaves_all_versions_as_they_are(self) -> None:
        data = bytearray(self.saved["model.npy"])
        with open(self.run / "model.npy", "r+b", buffering=0) as file:
            file.seek(5 * MIB)
            file.write(b"updated in place")
            data[5 * MIB:5 * MIB + 16] = b"updated in place"
            os.fsync(file.fileno())
        self.saved["model.npy"] = bytes(data)
        self.snapshot()
        self.compare()

    def sealed_and_mounted_again_every_byte_is_the_same(self) -> None:
        self.mounts.unmount(wait=True)
        self.ckptfs("check", "--read-data", self.mounts.store)
        self.mount()
        self.compare()
        self.ckptfs("check", "--read-data", self.mounts.folder)

    def what_was_acknowledged_survives_a_kill(self) -> None:
        """Of the daemon, while a client writes: what it wrote before is there; what it can write after that, too."""
        data = npy(self.random.randbytes(4 * MIB))
        with open(self.run / "being-saved.npy", "wb", buffering=0) as writer:
            writer.write(data)
            put(self.run / "fsynced.npy", data)
            self.mounts.kill()
            try:
                writer.write(b"after the kill")
                data_after = data + b"after the kill"
            except OSError as error:
                check(error.errno in (errno.ENOTCONN, errno.ECONNABORTED), f"a write after the kill: {error}")
                data_after = data
            with contextlib.suppress(OSError):
                # A close may tell that the daemon is gone; the bytes are below.
                writer.close()
        self.mount()
        self.saved.update({"being-saved.npy": data_after, "fsynced.npy": data})
        self.compare()
        self.sealed()
        self.compare()

    def another_host_is_told_who_has_the_store(self) -> None:
        words = ["mount", self.other_store, self.other.folder]
        said = self.ckptfs(*words, status=1, as_other_host=True)
        host, pid = os.uname().nodename, self.mounts.pid
        for part in (f"pid {pid} on host {host}", f"there with: ckptfs unmount {self.mounts.folder}"):
            check(part in said, f"a second mount says {said!r}, without {part!r}")
        self.compare()

    def a_lock_that_a_killed_host_left_is_explained_and_taken(self) -> None:
        self.mounts.unmount()
        self.ckptfs("mount", self.other_store, self.other.folder, "-o", SEALING, as_other_host=True)
        try:
            same(self.other.folder / "run" / "model.npy", self.saved["model.npy"])
            self.other.pid = int(self.other.status()["pid"])
            said = self.ckptfs("mount", self.mounts.store, self.mounts.folder, status=1)
            check(f"pid {self.other.pid} on host {OTHER}" in said, f"a second mount says {said!r}")
            self.other.kill()
        finally:
            while is_mounted(self.other.folder):
                subprocess.run(["umount", "-l", self.other.folder], check=True)
        self.mount()
        log = (self.mounts.store / "ckptfs.log").read_text()
        check(f"on host {OTHER}, which opened it at" in log, "the log does not tell whose lock was left behind")
        self.compare()

    def a_lost_journal_is_made_anew(self) -> None:
        self.mounts.unmount(wait=True)
        shutil.rmtree(self.mounts.store / "journal")
        (self.mounts.store / "journal").mkdir(mode=0o700)
        said = self.ckptfs("check", "--repair", self.mounts.store)
        check("the journal is made anew" in said, f"the repair says {said!r}")
        self.mount()
        self.compare()
        self.save(SAVES)
        self.mounts.unmount(wait=True)
        self.ckptfs("check", "--read-data", self.mounts.store)

    STEPS = (
        saves_versions_and_reads_back,
        a_mapping_that_outlives_close_is_not_sealed,
        holes_stay_holes,
        an_update_in_place_leaves_all_versions_as_they_are,
        sealed_and_mounted_again_every_byte_is_the_same,
        what_was_acknowledged_survives_a_kill,
        another_host_is_told_who_has_the_store,
        a_lock_that_a_killed_host_left_is_explained_and_taken,
        a_lost_journal_is_made_anew,
    )


def features_of_the_mount(folder: pathlib.Path) -> dict[str, str | None]:
    """What the filesystem below does not have, the mount does not have: the errno's name, or None."""
    path = folder / "features.bin"
    path.write_bytes(b"x" * 2 * MIB)
    with open(path, "r+b") as file:
        found = {"fallocate": grounds.refused(lambda: grounds.fallocate(file.fileno(), 0, 0, 3 * MIB)),
                 "punch": grounds.refused(
                     lambda: grounds.fallocate(file.fileno(), grounds.PUNCH_HOLE_KEEP_SIZE, 0, MIB))}
        hole = b"x" if found["punch"] else b"\0"
        check(file.read() == hole * MIB + b"x" * MIB + (b"" if found["fallocate"] else b"\0" * MIB), "a punched hole")
    path.unlink()
    return found


def try_kind(args, kind: str) -> tuple[bool, str]:
    """Whether all was as it must be, and the row of the table."""
    work, began = (args.work / kind).resolve(), time.monotonic()
    work.mkdir()
    doing = "making the filesystem"
    try:
        with grounds.KINDS[kind](work) as (here, elsewhere):
            below = grounds.features(here)
            trial = Trial(args.binary, work, here, elsewhere)
            try:
                doing = "mounting"
                trial.mount()
                passthrough = trial.mounts.status()["passthrough"]
                above = features_of_the_mount(trial.mounts.folder)
                for step in Trial.STEPS:
                    doing = step.__name__.replace("_", " ")
                    step(trial)
                errors = [line for line in trial.log.read_text().splitlines() if "ERROR" in line]
                check(not errors, f"the log has errors: {errors[:3]}")
            except BaseException:
                if (trial.mounts.store / "ckptfs.log").exists():
                    shutil.copy(trial.mounts.store / "ckptfs.log", work)
                raise
            finally:
                if trial.mounts.pid and is_mounted(trial.mounts.folder):
                    with contextlib.suppress(ProcessLookupError):
                        trial.mounts.kill()
                trial.mounts.clear()
    except Exception as error:  # Whatever it is, the other kinds are tried.
        print(f"FAILED {kind}: {doing}: {type(error).__name__}: {error}", flush=True)
        return False, f"| {kind} | failed: {doing} |"
    print(f"ok     {kind}, {time.monotonic() - began:.0f} s; passthrough {passthrough}", flush=True)
    shutil.rmtree(work)
    return True, row(kind, passthrough, below, above)


def row(kind: str, passthrough: dict, below: dict, above: dict) -> str:
    on = "on" if passthrough["on"] else f"off: {passthrough['why']}"
    cells = [on, *(below[name] or "yes" for name in ("lease", "clone", "holes", "exchange")),
             *(above[name] or "yes" for name in ("fallocate", "punch"))]
    return f"| {kind} | " + " | ".join(cells) + " |"


def page(rows: list[str]) -> str:
    steps = "\n".join(f"- {step.__name__.replace('_', ' ')}" for step in Trial.STEPS)
    return PAGE.format(steps=steps, rows="\n".join(rows))


PAGE = """# What a store can lie on

Made by `sudo UPDATE=1 scripts/filesystems.sh`; not edited by hand. On each of these filesystems, all of this was done, and
every byte and every version was compared with what was written:

{steps}

What a filesystem does not have falls back by itself:

| store on | passthrough | lease | clone | holes | exchange | fallocate | punch hole |
| --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

- **passthrough**: the kernel reads and writes hot files by itself. Where it is off, the daemon serves the same hot files,
  slower; `ckptfs status` says why. `overlayfs-2` is an overlayfs over another one: with the mount itself that is deeper than
  the kernel stacks filesystems. On overlayfs, opens for reading and writing take the daemon path in any case, because there
  a lease does not show mappings.
- **lease** (`F_SETLEASE`): proves that nobody can write to a file before it is sealed. Without it passthrough is off.
- **clone** (`FICLONE`): the copy that a version in the making needs of a file that changes shares extents. Without it the
  bytes are copied.
- **holes** (`SEEK_DATA`): holes of a hot file are skipped when it is sealed. Without it they are read as zeros; either way
  they take no space in the store.
- **exchange** (`RENAME_EXCHANGE`): `check --repair` puts a new journal in the place of the old one in one step. Without it
  in two; killed in between, the next repair begins again.
- **fallocate**, **punch hole**: what a program in the mount gets. Without the first, journal segments are not reserved on
  the disk beforehand.
- **tmpfs** keeps nothing over a power cut, whatever was synced.
- **GlusterFS** passes the store's lock on between hosts (tried with two clients): a second host is refused, and told which
  process on which host has the store. A store is for one host at a time on any filesystem. A filesystem that does not pass
  flock(2) on between hosts must not be mounted from two; the log of a mount names a host that did not close the store.
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("kinds", nargs="+", choices=list(grounds.KINDS))
    args = parser.parse_args()
    results = [try_kind(args, kind) for kind in args.kinds]
    good = sum(fine for fine, _ in results)
    print(f"{good} of {len(results)} filesystems passed")
    if good < len(results):
        return 1
    text = page([line for _, line in results])
    if args.out:
        args.out.write_text(text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Cases of disk_faults.py about disks that are full."""

import errno
import hashlib
import os
import pathlib
import struct
import subprocess
import time

import disks
from disk_bed import Bed, check, fails, put, same

MIB = 1 << 20
SAVES, SAVE_BYTES = 100, 200 * MIB


def trains_for_ever(bed: Bed) -> None:
    """200 MiB saved over and over on 2 GiB: no save fails, and the newest versions hold what was saved."""
    run = bed.mount("settle=300ms") / "run"
    run.mkdir()
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }" % SAVE_BYTES
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.ljust(117) + b"\n"
    saved = []
    for step in range(SAVES):
        data = header + os.urandom(SAVE_BYTES)
        saved.append(hashlib.sha256(data).digest())
        put(run / "model.tmp", data)
        os.rename(run / "model.tmp", run / "model.npy")
        # A step of training.
        time.sleep(0.5)
    same(run / "model.npy", data)
    versions = sorted(name for name in os.listdir(run / ".snapshots") if name.isdigit())
    check(len(versions) >= 2, f"only {versions} are left")
    for name in versions:
        try:
            whole = hashlib.sha256((run / ".snapshots" / name / "model.npy").read_bytes()).digest()
        except FileNotFoundError:
            # It went for lack of space meanwhile; the newest two never do.
            check(name not in versions[-2:], f"version {name} is gone")
            continue
        check(whole in saved, f"version {name} holds other bytes than were saved")
        newest = whole
    check(newest in saved[-2:], "the newest version is an old save")
    bed.mounts.unmount()


def fill(path: pathlib.Path) -> None:
    """Takes what is left, to the last byte; a disk that has no room for a name is full already."""
    for size in (MIB, 4096, 1):
        try:
            with open(path, "ab", buffering=0) as file:
                while True:
                    file.write(b"x" * size)
        except OSError as error:
            check(error.errno == errno.ENOSPC, f"filling the disk: {error}")


def filled_by_another(bed: Bed) -> None:
    """Somebody else takes the last byte: saves fail with ENOSPC, deleting, a kill and a new mount work, and it heals."""
    mount = bed.mount("settle=100ms")
    saved = {f"f{number}.bin": os.urandom(4 * MIB) for number in range(6)}
    for name, data in saved.items():
        put(mount / name, data)
    fill(bed.disk / "filler")
    fails("a save on a full disk", lambda: put(mount / "new.bin", os.urandom(2 * MIB)), errno.ENOSPC, within=5)
    (mount / "f0.bin").unlink()
    del saved["f0.bin"]
    fill(bed.disk / "filler2")
    bed.mounts.kill()
    mount = bed.mount("settle=100ms")
    for name, data in saved.items():
        same(mount / name, data)
    (mount / "f1.bin").unlink()
    del saved["f1.bin"]
    bed.mounts.unmount()
    mount = bed.mount("settle=100ms")
    (bed.disk / "filler").unlink()
    (bed.disk / "filler2").unlink(missing_ok=True)
    put(mount / "after.bin", b"goes on")
    for name, data in saved.items():
        same(mount / name, data)
    check(not (mount / "f0.bin").exists(), "a deleted file is back")
    check(bed.mounts.status()["health"] == "ok", "health once there is space")
    bed.mounts.unmount()


def command(bed: Bed, *words) -> str | None:
    """What ckptfs says when it fails, one line; `None` when it does what it is told."""
    done = subprocess.run([bed.binary, *map(str, words)], capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    check(len(lines) == 1, f"{words[0]} says {lines}")
    return lines[0]


def three_versions(bed: Bed, run: pathlib.Path) -> list[bytes]:
    """Saves `model.bin` in `run` three times, and makes a version of each."""
    run.mkdir()
    saved = [os.urandom(4 * MIB) for _ in range(3)]
    for number, data in enumerate(saved, 1):
        put(run / "model.bin", data)
        check(command(bed, "snapshot", run) is None, f"version {number}")
    return saved


def are_versions(run: pathlib.Path, saved: list[bytes]) -> None:
    for number, data in enumerate(saved, 1):
        same(run / f".snapshots/{number:06}/model.bin", data)


def brought_back_when_full(bed: Bed) -> None:
    """Restore, clone and import on a full disk: done whole, or refused in a line and nothing is changed."""
    mount = bed.mount("settle=100ms,hot_cache=0")
    run = mount / "run"
    saved = three_versions(bed, run)
    outside = bed.work / "outside"
    outside.mkdir()
    put(outside / "model.bin", os.urandom(8 * MIB))
    bed.sealed()
    fill(bed.disk / "filler")
    now = saved[2]
    for number in (1, 2):
        words = command(bed, "restore", f"{number}", run)
        now = now if words else saved[number - 1]
        same(run / "model.bin", now)
    refused = command(bed, "clone", "1", mount / "copy", run)
    # Its first version may be what there was no room for: then the directory is whole, and only that is missing.
    if not refused or (mount / "copy").exists():
        same(mount / "copy/model.bin", saved[0])
    check(command(bed, "import", outside, mount / "imported") is not None, "8 MiB came in where there is no byte")
    check(not (mount / "imported/model.bin").exists(), "an import that was refused left a file")
    same(run / "model.bin", now)
    (bed.disk / "filler").unlink()
    check(command(bed, "restore", "1", run) is None, "a restore once there is space")
    same(run / "model.bin", saved[0])
    check(command(bed, "import", outside, mount / "imported") is None, "an import once there is space")
    same(mount / "imported/model.bin", (outside / "model.bin").read_bytes())
    check(bed.mounts.status()["health"] == "ok", "health once there is space")
    bed.mounts.unmount()
    check(command(bed, "check", "--read-data", bed.store) is None, "check finds something")


def beyond_a_quota(bed: Bed) -> None:
    """A limit of the disk below: EDQUOT, no version gives way for it, and all is well once it is raised and mounted again."""
    disks.run("btrfs", "quota", "enable", bed.disk)
    mount = bed.mount("settle=100ms,hot_cache=0")
    run = mount / "run"
    saved = three_versions(bed, run)
    bed.sealed()
    disks.run("sync", "-f", bed.disk)
    disks.run("btrfs", "quota", "rescan", "-w", bed.disk)
    held = int(disks.run("btrfs", "qgroup", "show", "--raw", bed.disk).splitlines()[-1].split()[1])
    disks.run("btrfs", "qgroup", "limit", held + 24 * MIB, bed.disk)

    def save_on() -> None:
        for number in range(20):
            put(mount / f"more-{number}.bin", os.urandom(4 * MIB), sync=False)

    fails("a save beyond the limit", save_on, errno.EDQUOT, within=20)
    check(bed.free() > 200 * MIB, "the disk itself is full")
    are_versions(run, saved)
    same(run / "model.bin", saved[2])
    disks.run("btrfs", "qgroup", "limit", "none", bed.disk)
    # What failed meanwhile may have been a sync: then nothing is written until the next mount.
    end_limited(bed)
    mount = bed.mount("settle=100ms,hot_cache=0")
    same(run / "model.bin", saved[2])
    put(mount / "after.bin", b"goes on")
    (mount / "more-0.bin").unlink()
    are_versions(run, saved)
    check(bed.mounts.status()["health"] == "ok", "health once the limit is raised")
    bed.mounts.unmount()


def end_limited(bed: Bed) -> None:
    """In order, or as what it is where a sync has failed at the limit."""
    if bed.mounts.status()["health"] == "ok":
        bed.mounts.unmount()
    else:
        bed.mounts.kill()


FULL_CASES = [
    ("beyond-a-quota-btrfs", "btrfs", 1024, "defaults", beyond_a_quota),
    *((f"brought-back-{kind}", kind, 400, "defaults", brought_back_when_full) for kind in ("ext4", "xfs")),
    *((f"filled-by-another-{kind}", kind, 400, "defaults", filled_by_another) for kind in ("ext4", "xfs")),
    *((f"trains-for-ever-{kind}", kind, 2048, "defaults", trains_for_ever) for kind in ("ext4", "xfs")),
]

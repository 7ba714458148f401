"""Cases of disk_faults.py about disks that are full."""

import errno
import hashlib
import os
import pathlib
import struct
import time

import disks
from disk_bed import Bed, check, fails, put, same
from mounts import wait_for

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


def quota_is_reached(bed: Bed) -> None:
    """The store's quota, which statfs(2) does not show: saves get EDQUOT, nothing that was acknowledged is lost, deleting
    (once the disk has counted) and a kill and a new mount work, and when the quota is raised it goes on."""
    bed.store.rmdir()
    disks.run("btrfs", "subvolume", "create", bed.store)
    disks.run("btrfs", "quota", "enable", bed.disk)
    limit(bed, "200M")
    mount = bed.mount("settle=100ms")
    saved, refused = {}, 0
    for number in range(60):
        if refused == 6:
            break
        name, data = f"f{number}.bin", os.urandom(8 * MIB)
        try:
            put(mount / name, data)
            saved[name] = data
        except OSError as error:
            check(error.errno in (errno.EDQUOT, errno.ENOSPC), f"save {number}: {error}")
            refused += 1
            if (mount / name).exists():
                deleted(mount / name)
    check(refused == 6 and len(saved) >= 5, f"{len(saved)} saves, {refused} refused: the case shows nothing")
    quota_heals(bed, mount, saved)


def deleted(path: pathlib.Path) -> None:
    """btrfs counts what was given back only when it commits, at most 30 s later."""
    def gone() -> bool:
        try:
            path.unlink()
        except OSError as error:
            check(error.errno in (errno.EDQUOT, errno.ENOSPC), f"deleting {path.name}: {error}")
            return False
        return True

    wait_for(f"deleting {path.name}", gone, 45)


def quota_heals(bed: Bed, mount: pathlib.Path, saved: dict[str, bytes]) -> None:
    for name, data in saved.items():
        same(mount / name, data)
    check(bed.mounts.status()["health"] == "ok", f"health at the quota: {bed.mounts.status()['health']}")
    deleted(mount / "f0.bin")
    del saved["f0.bin"]
    bed.mounts.kill()
    mount = bed.mount("settle=100ms")
    for name, data in saved.items():
        same(mount / name, data)
    deleted(mount / "f1.bin")
    del saved["f1.bin"]
    bed.mounts.unmount()
    mount = bed.mount("settle=100ms")
    limit(bed, "none")
    put(mount / "after.bin", b"goes on")
    for name, data in saved.items():
        same(mount / name, data)
    check(not (mount / "f0.bin").exists(), "a deleted file is back")
    check(bed.mounts.status()["health"] == "ok", "health once there is space")
    bed.mounts.unmount(wait=True)
    disks.run(bed.binary, "check", "--read-data", bed.store)


def limit(bed: Bed, size: str) -> None:
    disks.run("btrfs", "qgroup", "limit", size, bed.store)


FULL_CASES = [
    *((f"filled-by-another-{kind}", kind, 400, "defaults", filled_by_another) for kind in ("ext4", "xfs")),
    ("quota-reached-btrfs", "btrfs", 1200, "defaults", quota_is_reached),
    *((f"trains-for-ever-{kind}", kind, 2048, "defaults", trains_for_ever) for kind in ("ext4", "xfs")),
]

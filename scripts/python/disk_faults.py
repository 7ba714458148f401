"""Disks that fail below a store: what must hold, case by case. Each case has a disk of its own and says what a user sees.

A name on the command line chooses cases by what they contain. Every case runs, whatever fails before it.
"""

import argparse
import errno
import os
import pathlib
import shutil
import sys
import time

from disk_bed import SEALING, Bed, Failure, check, fails, put, same
from disk_full import FULL_CASES
from mounts import MountError

MIB = 1 << 20


def files(seed: str, count: int, size: int) -> dict[str, bytes]:
    return {f"{seed}-{number}.bin": os.urandom(size) for number in range(count)}


def unreadable_packs(bed: Bed) -> None:
    """A disk that cannot be read: EIO, soon, for what is on it; the rest goes on, and everything is there afterwards."""
    mount = bed.mount(SEALING)
    saved = files("sealed", 6, 2 * MIB)
    for name, data in saved.items():
        put(mount / name, data)
    bed.sealed()
    bed.mounts.unmount()
    mount = bed.restart(SEALING)
    pid = bed.mounts.pid
    for name in saved:
        os.stat(mount / name)
    bed.recorder.fail("read 100")
    for name in saved:
        fails(f"reading {name}", (mount / name).read_bytes, errno.EIO)
    check(bed.recorder.failed("read") > 0, "the disk was never asked: the case shows nothing")
    status = bed.mounts.status()
    check(status["pid"] == pid, "the daemon is another one")
    check(any(".pack" in one["what"] or "pack" in one["what"] for one in status["last_errors"]),
          f"status names no pack: {status['last_errors']}")
    bed.recorder.fail()
    for name, data in saved.items():
        same(mount / name, data)
    put(mount / "after.bin", b"goes on")
    bed.mounts.unmount()


def partly_unreadable(bed: Bed) -> None:
    """A fifth of the disk cannot be read: each file is right or EIO, never wrong bytes; no answer takes long."""
    mount = bed.mount(SEALING)
    saved = files("part", 60, MIB // 8)
    for name, data in saved.items():
        put(mount / name, data)
    bed.sealed()
    bed.mounts.unmount()
    mount = bed.restart(SEALING)
    bed.recorder.fail("read 1")
    right = failed = 0
    for name, data in saved.items():
        began = time.monotonic()
        try:
            same(mount / name, data)
            right += 1
        except OSError as error:
            check(error.errno == errno.EIO, f"{name}: {error}")
            failed += 1
        check(time.monotonic() - began < 2, f"{name}: answered after {time.monotonic() - began:.1f} s")
    check(right > 0 and failed > 0, f"{right} right, {failed} failed: the case shows nothing")
    bed.recorder.fail()
    for name, data in saved.items():
        same(mount / name, data)
    bed.mounts.unmount()


def failed_sync(bed: Bed, fault: str, passthrough: str) -> None:
    """An fsync that fails ends all writing, for good; what was acknowledged before is there on a disk that works."""
    mount = bed.mount(f"settle=100ms,passthrough={passthrough}")
    saved = files("before", 3, MIB)
    for name, data in saved.items():
        put(mount / name, data)
    with open(mount / "open.bin", "wb", buffering=0) as writer:
        disk_stops(bed, mount, saved, fault, writer)
    end_poisoned(bed)
    mount = bed.restart("settle=100ms")
    for name, data in saved.items():
        same(mount / name, data)
    put(mount / "after.bin", b"goes on")
    same(mount / "after.bin", b"goes on")
    check(bed.mounts.status()["health"] == "ok", "health after the restart")
    bed.mounts.unmount()


def disk_stops(bed: Bed, mount: pathlib.Path, saved: dict[str, bytes], fault: str, writer) -> None:
    bed.recorder.fail(fault)
    fails("an fsync", lambda: put(mount / "during.bin", os.urandom(MIB)), errno.EIO, errno.EROFS, within=5)
    fails("a new file", lambda: put(mount / "more.bin", b"x", sync=False), errno.EROFS, errno.EIO)
    fails("a deletion", lambda: (mount / "before-0.bin").unlink(), errno.EROFS, errno.EIO)
    fails("an fsync of an open file", lambda: os.fsync(writer.fileno()), errno.EROFS, errno.EIO)
    for name, data in saved.items():
        still_read(mount / name, data, may_fail=bed.kind == "xfs")
    status = bed.mounts.status()
    if status["state"] == "unreachable" and bed.kind == "xfs":
        # The control socket is in the store, where nothing is found any more; that is said.
        check("Input/output error" in status["why"], f"status: {status}")
        return
    health = status["health"]
    check(health.startswith("read-only: "), f"health is {health!r}")
    bed.recorder.fail()
    fails("a new file after the disk was mended", lambda: put(mount / "more.bin", b"x"), errno.EROFS, errno.EIO)


def still_read(path: pathlib.Path, data: bytes, *, may_fail: bool) -> None:
    """xfs shuts down after a failed write of its log, and then it answers reads with EIO."""
    try:
        same(path, data)
    except OSError as error:
        check(may_fail and error.errno == errno.EIO, f"reading {path.name}: {error}")


def end_poisoned(bed: Bed) -> None:
    """`unmount` works; it may say by its status that not everything could be made durable."""
    pid = bed.mounts.pid
    try:
        bed.mounts.unmount()
    except (MountError, OSError) as error:
        raise Failure(f"unmounting a store that stopped writing: {error}") from None
    except Exception as error:
        check(not os.path.ismount(bed.mounts.folder), f"still mounted after unmount: {error}")
        bed.mounts.pid = pid
        bed.mounts.ended()


def read_only_disk(bed: Bed) -> None:
    """ext4 finds an error and goes read-only (errors=remount-ro): writes fail, reads go on, unmount works."""
    mount = bed.mount("settle=100ms")
    saved = files("before", 3, MIB)
    for name, data in saved.items():
        put(mount / name, data)
    device = os.path.basename(bed.device)
    pathlib.Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("by scripts/disk_faults.sh")
    fails("a new file", lambda: put(mount / "more.bin", b"x"), errno.EROFS, errno.EIO)
    fails("a save over a file", lambda: put(mount / "before-0.bin", b"x"), errno.EROFS, errno.EIO)
    for name, data in saved.items():
        same(mount / name, data)
    status = bed.mounts.status()
    check(status["health"].startswith("read-only") or status["last_errors"], f"status says nothing: {status}")
    end_poisoned(bed)
    mount = bed.restart("settle=100ms", "sh", "-c", 'e2fsck -fp "$0" || [ $? = 1 ]')
    for name, data in saved.items():
        same(mount / name, data)
    put(mount / "after.bin", b"goes on")
    bed.mounts.unmount()


# Name, filesystem, MiB, mount options of the filesystem, the case.
CASES = [
    *((f"unreadable-{kind}", kind, 400, "defaults", unreadable_packs) for kind in ("ext4", "xfs")),
    *((f"partly-unreadable-{kind}", kind, 400, "defaults", partly_unreadable) for kind in ("ext4", "xfs")),
    *((f"failed-{fault}-{kind}-passthrough-{on}", kind, 400, "errors=remount-ro" if kind == "ext4" else "defaults",
       lambda bed, fault=fault, on=on: failed_sync(bed, f"{fault} 100", on))
      for fault in ("flush", "write") for kind in ("ext4", "xfs") for on in ("on", "off")),
    ("read-only-disk", "ext4", 400, "errors=remount-ro", read_only_disk),
    *FULL_CASES,
]


def run_case(args, name: str, kind: str, mib: int, options: str, case) -> bool:
    work, began = args.work / name, time.monotonic()
    work.mkdir()
    try:
        with Bed(work, args.binary, args.disk, kind, mib, options=options) as bed:
            case(bed)
    except Exception as error:  # Whatever it is, the other cases run.
        print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
        (work / "disk.img").unlink(missing_ok=True)
        return False
    print(f"ok     {name}, {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(work)
    return True


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--disk", required=True)
    parser.add_argument("--binary", required=True)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    chosen = [case for case in CASES if not args.names or any(name in case[0] for name in args.names)]
    if not chosen:
        print("no case has such a name; there are: " + ", ".join(case[0] for case in CASES))
        return 1
    results = [run_case(args, *case) for case in chosen]
    print(f"{sum(results)} of {len(results)} cases passed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

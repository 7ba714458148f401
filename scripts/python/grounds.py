"""What a store can lie on: filesystems of each kind, made for a test and gone after it.

Each kind is a context that gives two folders: one filesystem as this host sees it, and as another one would; they are the
same folder where a filesystem has one host.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import pathlib

import disks
from gluster import Gluster

MIB = 1 << 20
DISK_MIB = 1200
FICLONE, F_SETLEASE, PUNCH_HOLE_KEEP_SIZE = 0x40049409, 1024, 3
libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def on_disk(work: pathlib.Path, kind: str):
    image = work / "disk.img"
    disks.make_image(image, kind, DISK_MIB)
    with disks.loop(image) as device, disks.mounted(device, work / "disk", kind=kind) as folder:
        yield folder, folder
    image.unlink()


@contextlib.contextmanager
def on_tmpfs(work: pathlib.Path):
    with disks.mounted("ckptfs-test", work / "disk", options=f"size={DISK_MIB}m,mode=755", kind="tmpfs") as folder:
        yield folder, folder


@contextlib.contextmanager
def on_overlayfs(work: pathlib.Path, lower: pathlib.Path | None = None):
    with on_disk(work, "ext4") as (disk, _):
        lower = lower or disk / "lower"
        for name in ("lower", "upper", "work"):
            (disk / name).mkdir()
        options = f"lowerdir={lower},upperdir={disk}/upper,workdir={disk}/work"
        with disks.mounted("overlay", work / "merged", options=options, kind="overlay") as folder:
            yield folder, folder


@contextlib.contextmanager
def on_two_overlays(work: pathlib.Path):
    """Its lower folder is on overlayfs too: as deep as the kernel stacks filesystems."""
    below = work / "below"
    below.mkdir()
    with on_overlayfs(below) as (lower, _), on_overlayfs(work, lower) as both:
        yield both


@contextlib.contextmanager
def on_glusterfs(work: pathlib.Path):
    with on_disk(work, "xfs") as (disk, _), Gluster(work / "gluster", disk / "brick") as gluster:
        with gluster.client(work / "client"), gluster.client(work / "other-client"):
            yield work / "client", work / "other-client"


KINDS = {
    "ext4": lambda work: on_disk(work, "ext4"),
    "xfs": lambda work: on_disk(work, "xfs"),
    "btrfs": lambda work: on_disk(work, "btrfs"),
    "tmpfs": on_tmpfs,
    "overlayfs": on_overlayfs,
    "overlayfs-2": on_two_overlays,
    "glusterfs": on_glusterfs,
}


def refused(work) -> str | None:
    """None if `work` succeeds, else the errno's name; what is not about a missing feature is an error."""
    try:
        work()
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EXDEV):
            return errno.errorcode[error.errno]
        raise
    return None


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def exchange(one: pathlib.Path, other: pathlib.Path) -> None:
    if libc.renameat2(-100, bytes(one), -100, bytes(other), 2) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def features(folder: pathlib.Path) -> dict[str, str | None]:
    """What the engine uses where it is there: the feature, and the errno's name where it is not."""
    one, other = folder / "feature-1", folder / "feature-2"
    one.write_bytes(b"x" * 2 * MIB)
    other.write_bytes(b"")
    with open(one, "rb") as reader, open(other, "r+b") as writer:
        found = {
            "lease": refused(lambda: fcntl.fcntl(reader, F_SETLEASE, fcntl.F_RDLCK)),
            "clone": refused(lambda: fcntl.ioctl(writer, FICLONE, reader.fileno())),
            "fallocate": refused(lambda: fallocate(writer.fileno(), 0, 0, MIB)),
            "punch": refused(lambda: fallocate(writer.fileno(), PUNCH_HOLE_KEEP_SIZE, 0, MIB)),
            "exchange": refused(lambda: exchange(one, other)),
        }
        os.ftruncate(writer.fileno(), 0)
        os.ftruncate(writer.fileno(), 4 * MIB)
        os.pwrite(writer.fileno(), b"x", 3 * MIB)
        holes = os.lseek(writer.fileno(), 0, os.SEEK_DATA) == 3 * MIB
        found["holes"] = None if holes else "none told"
    one.unlink()
    other.unlink()
    return found

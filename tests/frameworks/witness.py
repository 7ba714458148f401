"""What must stay the same about files while they are sealed, evicted and mounted again.

The page cache of a file is dropped before it is read, so that its bytes come from the filesystem, not from memory.
"""

import hashlib
import os
import stat
from pathlib import Path


def digest(array) -> str:
    """Names the bytes, the type and the shape of a numpy array."""
    contiguous = array.copy(order="C")
    return f"{array.dtype}{list(array.shape)}:{hashlib.sha256(contiguous.tobytes()).hexdigest()}"


def forget(path: Path) -> None:
    """Asks the kernel to drop what it has cached of a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, read from the filesystem."""
    forget(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(path: Path) -> dict:
    """Everything a reader can notice about one name."""
    info = path.lstat()
    kind = stat.S_IFMT(info.st_mode)
    found = {"mode": oct(info.st_mode), "ino": info.st_ino, "nlink": info.st_nlink, "owner": (info.st_uid, info.st_gid)}
    if kind == stat.S_IFREG:
        found |= {"size": info.st_size, "mtime_ns": info.st_mtime_ns, "sha256": file_digest(path)}
    elif kind == stat.S_IFLNK:
        found["target"] = os.readlink(path)
    return found


def tree(folder: Path) -> dict:
    """describe() of everything below a folder, by relative name."""
    return {str(path.relative_to(folder)): describe(path) for path in sorted(folder.rglob("*"))}


def largest(found: dict) -> int:
    """Bytes of the largest file in a tree()."""
    return max((entry.get("size", 0) for entry in found.values()), default=0)

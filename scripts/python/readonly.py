"""On a read-only mount every change is EROFS and every read works: what pjdfstest would need a remount for.

Usage: readonly.py FOLDER --prepare (on a writable mount), then readonly.py FOLDER (on a read-only one).
"""

import errno
import os
import pathlib
import sys

CONTENT = b"kept\n"


def prepare(root: pathlib.Path) -> None:
    (root / "file").write_bytes(CONTENT)
    (root / "directory").mkdir()
    (root / "symlink").symlink_to("file")


def changes(root: pathlib.Path) -> dict:
    """By name: something that would change the filesystem."""
    file, new = str(root / "file"), str(root / "new")
    return {
        "open for write": lambda: os.open(file, os.O_WRONLY),
        "open and truncate": lambda: os.open(file, os.O_RDONLY | os.O_TRUNC),
        "create": lambda: os.open(new, os.O_RDWR | os.O_CREAT, 0o644),
        "truncate": lambda: os.truncate(file, 0),
        "unlink": lambda: os.unlink(file),
        "rename": lambda: os.rename(file, new),
        "link": lambda: os.link(file, new),
        "symlink": lambda: os.symlink("file", new),
        "mkdir": lambda: os.mkdir(new),
        "rmdir": lambda: os.rmdir(root / "directory"),
        "mkfifo": lambda: os.mkfifo(new),
        "chmod": lambda: os.chmod(file, 0o600),
        "chown": lambda: os.chown(file, 1, 1),
        "lchown": lambda: os.lchown(root / "symlink", 1, 1),
        "utimensat": lambda: os.utime(file, (1, 1)),
        "setxattr": lambda: os.setxattr(file, "user.test", b"1"),
    }


def refused(change) -> str | None:
    """Why the change was not refused as it should have been, or None."""
    try:
        change()
    except OSError as error:
        return None if error.errno == errno.EROFS else f"{errno.errorcode.get(error.errno)} instead of EROFS"
    return "was done"


def main() -> None:
    root = pathlib.Path(sys.argv[1])
    if sys.argv[2:] == ["--prepare"]:
        prepare(root)
        return
    problems = [f"{name}: {problem}" for name, change in changes(root).items() if (problem := refused(change))]
    if (root / "file").read_bytes() != CONTENT or sorted(os.listdir(root)) != ["directory", "file", "symlink"]:
        problems.append("what was there before is not what is read")
    if problems:
        sys.exit("read-only mount: " + "; ".join(problems))
    print(f"read-only mount: {len(changes(root))} changes refused with EROFS, everything read")


if __name__ == "__main__":
    main()

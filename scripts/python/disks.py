"""Disks for the scripts that take them away: images with a filesystem, loop devices, and the disk that notes its writes.

The order is: make an image, serve it (`Recorder`) or not, attach it (`loop`), mount it (`mounted`). Each is a context
that undoes itself, in the order that leaves no loop device on a FUSE mount that is gone. Everything here needs root.
"""

import contextlib
import errno
import os
import pathlib
import subprocess
import time

from mounts import LIMIT_SECONDS, is_mounted, wait_for

MKFS = {
    # Without lazy initialisation nothing writes to the disk but what the test does.
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}


def run(*command: str | pathlib.Path, limit: float = LIMIT_SECONDS) -> str:
    """Its output; an error says what it said."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=limit, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, command))}: status {done.returncode}: {done.stdout.strip()}")
    return done.stdout


def make_image(path: pathlib.Path, kind: str, mib: int, *options: str) -> None:
    """A sparse file of `mib` MiB that holds an empty filesystem."""
    with open(path, "wb") as file:
        file.truncate(mib << 20)
    run(*MKFS[kind], *options, path)


def copy_sparse(source: pathlib.Path, out: pathlib.Path) -> None:
    """A new file with the same bytes, and holes where the other has holes."""
    out.unlink(missing_ok=True)
    with open(source, "rb") as old, open(out, "xb") as new:
        size, at = os.fstat(old.fileno()).st_size, 0
        new.truncate(size)
        while at < size:
            try:
                at = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # No more data.
                    return
                raise
            end = os.lseek(old.fileno(), at, os.SEEK_HOLE)
            os.lseek(new.fileno(), at, os.SEEK_SET)
            while at < end:
                at += os.sendfile(new.fileno(), old.fileno(), at, end - at)


@contextlib.contextmanager
def loop(file: pathlib.Path):
    """The device on `file`."""
    device = run("losetup", "--find", "--show", file).strip()
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


@contextlib.contextmanager
def mounted(device: str, folder: pathlib.Path, options: str = "defaults", kind: str = "auto"):
    """`device` at `folder`; unmounted at the end, lazily if somebody still has it open, which is an error too."""
    folder.mkdir(exist_ok=True)
    run("mount", "-t", kind, "-o", options, device, folder)
    try:
        yield folder
    finally:
        unmount(folder)


def unmount(folder: pathlib.Path) -> None:
    """A daemon that has just gone lets go a moment later."""
    end = time.monotonic() + 10
    while is_mounted(folder):
        done = subprocess.run(["umount", folder], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if time.monotonic() > end:
            run("umount", "-l", folder)
            raise OSError(f"{folder} was still in use: {done.stderr.strip()}")
        time.sleep(0.05)


class Recorder:
    """tests/disk: `image` as a file that notes its writes in `log`, and fails on demand."""

    def __init__(self, program: str, folder: pathlib.Path, image: pathlib.Path, log: pathlib.Path | None = None):
        self.command = [program, str(folder), str(image), *([str(log)] if log else [])]
        self.folder, self.process = folder.resolve(), None
        self.disk, self.control = self.folder / "disk.img", self.folder / "control"

    def __enter__(self) -> "Recorder":
        self.folder.mkdir(exist_ok=True)
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        wait_for("the recording disk", lambda: self.process.poll() is not None or is_mounted(self.folder))
        if self.process.poll() is not None:
            raise OSError(f"{self.command[0]} ended with status {self.process.returncode}")
        return self

    def __exit__(self, *_) -> None:
        if is_mounted(self.folder):
            run("umount", "-l", self.folder)
        self.process.wait(timeout=LIMIT_SECONDS)

    def fail(self, *lines: str) -> None:
        """Faults as tests/disk/faults.rs reads them, instead of those before; none without an argument."""
        self.control.write_text("\n".join(("none", *lines)))

    def failed(self, kind: str) -> int:
        """How many requests of that kind (read, write, flush) have failed so far."""
        for line in self.control.read_text().splitlines():
            if line.split()[0] == kind:
                return int(line.split()[3])
        raise ValueError(f"no kind {kind}")

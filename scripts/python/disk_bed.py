"""One store on a disk of its own, for tests that break the disk: the order of things, up and down again.

From below: image, noting disk (which fails on demand), loop device, filesystem, store, mount. `Bed.restart` is what people
do after a disk failed: unmount everything, mend the disk, mount everything.
"""

import contextlib
import errno
import os
import pathlib
import time

import disks
from mounts import Mount, wait_for

# Seals at once and keeps nothing hot: what is read comes from packs.
SEALING = "settle=100ms,hot_cache=0"


class Failure(Exception):
    """A promise was broken."""


def check(condition: bool, text: str) -> None:
    if not condition:
        raise Failure(text)


class Bed:
    """`with Bed(...) as bed`: the filesystem is mounted at `bed.disk`; `bed.mount(options)` mounts the store in it."""

    def __init__(self, work: pathlib.Path, binary: str, program: str, kind: str, mib: int, *, options: str = "defaults",
                 mkfs: tuple[str, ...] = ()):
        self.work, self.binary, self.program, self.kind = work, binary, program, kind
        self.options, self.image = options, work / "disk.img"
        disks.make_image(self.image, kind, mib, *mkfs)
        self.stack, self.recorder, self.device, self.disk = contextlib.ExitStack(), None, "", work / "disk"
        self.store, self.log = self.disk / "store", work / "daemon.log"
        self.mounts = None

    def __enter__(self) -> "Bed":
        try:
            self.recorder = self.stack.enter_context(disks.Recorder(self.program, self.work / "recorder", self.image))
            self.device = self.stack.enter_context(disks.loop(self.recorder.disk))
            disks.run("mount", "-t", self.kind, "-o", self.options, self.device, self.made(self.disk))
            self.stack.callback(disks.unmount, self.disk)
            self.mounts = Mount("ckptfs", self.binary, self.store, self.work / "mnt")
            self.stack.callback(self.clear)
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.recorder.fail()
        self.stack.close()

    def clear(self) -> None:
        if self.mounts.pid and not self.mounts.process:
            with contextlib.suppress(ProcessLookupError):
                self.mounts.kill()
        self.mounts.clear()

    @staticmethod
    def made(folder: pathlib.Path) -> pathlib.Path:
        folder.mkdir(exist_ok=True)
        return folder

    def mount(self, options: str) -> pathlib.Path:
        self.mounts.mount(options, self.log)
        return self.mounts.folder

    def restart(self, options: str, *fsck: str) -> pathlib.Path:
        """Everything mounted again, with nothing in any cache; the store is unmounted already."""
        self.recorder.fail()
        disks.unmount(self.disk)
        if fsck:
            disks.run(*fsck, self.device)
        disks.run("mount", "-t", self.kind, "-o", self.options, self.device, self.disk)
        return self.mount(options)

    def sealed(self) -> None:
        """Waits until no file is hot."""
        wait_for("sealing", lambda: self.mounts.status()["hot_files"] == 0)

    def free(self) -> int:
        space = os.statvfs(self.disk)
        return space.f_bavail * space.f_frsize


def put(path: pathlib.Path, data: bytes, *, sync: bool = True) -> None:
    with open(path, "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view[:1 << 20]):]
        if sync:
            os.fsync(file.fileno())


def fails(what: str, work, *wanted: int, within: float = 1.0) -> OSError:
    """`work` must fail with one of these errnos, soon."""
    began = time.monotonic()
    try:
        work()
    except OSError as error:
        took = time.monotonic() - began
        names = [errno.errorcode[number] for number in wanted]
        check(error.errno in wanted, f"{what}: {error}; must be one of {names}")
        check(took <= within, f"{what}: failed only after {took:.1f} s")
        return error
    raise Failure(f"{what}: succeeded")


def same(path: pathlib.Path, data: bytes) -> None:
    got = path.read_bytes()
    check(got == data, f"{path.name}: {len(got)} bytes, not the {len(data)} that were written")

"""The sides of the comparison that are FUSE mounts: bindfs, the plainest one there is, and ckptfs."""

import os
import subprocess
from pathlib import Path

from compare_measure import Save, allocated, read_file, tool
from compare_sides import Side
from mounts import Mount, MountError, is_mounted, wait_for
from store_size import counted, disk_bytes

# As in the README; all else is the default.
OPTIONS = "allow_other"
VERSION_SECONDS, IDLE_SECONDS = 120, 300
# Nothing is left to do when status says so for this long.
STILL_SECONDS = 3


class BindfsMount(Mount):
    """bindfs as fast as it goes: on libfuse 2 it writes 4 KiB at a time unless it is told not to."""

    def command(self, options: str, foreground: bool) -> list[str]:
        libfuse_2 = "linked version 2" in tool("bindfs", "--fuse-version")
        return ["bindfs", "-f", "-o", options + (",big_writes" if libfuse_2 else ""), str(self.store), str(self.folder)]


class Mounted(Side):
    """A store on the disk, and a mount through which it is used."""

    kind, target = BindfsMount, "bindfs"

    def start(self) -> None:
        self.mount = self.kind(self.target, self.binary, self.work / "store", self.folder)
        self.mount.mount(OPTIONS, self.work / "mount.log")

    def stop(self) -> None:
        if not hasattr(self, "mount"):
            return
        if is_mounted(self.mount.folder):
            try:
                self.mount.unmount()
            except (MountError, OSError, subprocess.SubprocessError):
                self.mount.clear()
                raise
        self.mount.clear()

    def daemons(self) -> list[int]:
        return [self.mount.pid]

    def disk(self) -> tuple[int, int]:
        return allocated(self.mount.store), allocated(self.mount.store)


class Bindfs(Mounted):
    """Each byte passes through a daemon twice, and nothing else is done with it."""

    name = "bindfs over plain files"


class Ckptfs(Mounted):
    """Versions are made between saves, and stored smaller once nothing else is to do."""

    name, verified, kind, target = "ckptfs", "BLAKE3, from packs", Mount, "ckptfs"

    def start(self) -> None:
        self.versions: dict[tuple[str, int], str] = {}
        super().start()
        passthrough = self.mount.status()["passthrough"]
        self.name = "ckptfs" if passthrough["on"] else f"ckptfs without passthrough ({passthrough['why']})"

    def path(self, save: Save) -> Path:
        return self.folder / save.training / save.name

    def snapshots(self, save: Save) -> Path:
        return self.folder / save.training / ".snapshots"

    def newest(self, save: Save) -> str:
        try:
            return os.readlink(self.snapshots(save) / "newest")
        except FileNotFoundError:
            return ""

    def between(self, saved: list[Save]) -> None:
        """Until each save is a version: a training goes on for longer than that."""
        for save in saved:
            before = self.versions.get((save.training, save.number - 1), "")
            wait_for("a version of a save", lambda: self.newest(save) != before, VERSION_SECONDS)
            self.versions[save.training, save.number] = self.newest(save)

    def finish(self) -> None:
        self.mount.wait_still(STILL_SECONDS, IDLE_SECONDS)

    def cool(self) -> None:
        """Its cache of chunks goes with the daemon."""
        self.mount.unmount()
        self.mount.mount(OPTIONS, self.work / "mount.log")

    def read(self, save: Save, buffer: bytearray) -> int:
        return read_file(self.snapshots(save) / self.versions[save.training, save.number] / save.name, buffer)

    def disk(self) -> tuple[int, int]:
        return allocated(self.mount.store), counted(disk_bytes(self.mount.store))

"""The sides of the comparison: what people keep checkpoints with. Each is started, saved to, read from, and stopped.

A side without a history gets every save under a name of its own. Those that keep one (restic, borg, ckptfs) get each save
over the last one of its training, and the older ones are asked from their history. What `stop` does works in any state,
because an interrupted run ends with it too.
"""

import contextlib
import json
from pathlib import Path

import disks
from compare_measure import MIB, Save, allocated, read_file, read_tool, tool
from mounts import MountError


class Side:
    """Plain files in a folder of the disk; the others differ from it in some steps."""

    name, verified = "plain files", "no"
    # Whether a script has to run something after a save.
    has_tool = False

    def __init__(self, work: Path, binary: str, saves_bytes: int):
        self.work, self.binary, self.saves_bytes = work, binary, saves_bytes
        self.folder = work / "folder"

    def start(self) -> None:
        """Everything is there for the first save."""
        self.folder.mkdir(parents=True)

    def stop(self) -> None:
        """Nothing is mounted or running any more."""

    def daemons(self) -> list[int]:
        return []

    def path(self, save: Save) -> Path:
        """Where the training writes a save."""
        return self.folder / save.training / f"save-{save.number}" / save.name

    def keep(self, save: Save) -> None:
        """What a script runs after a save."""

    def between(self, saved: list[Save]) -> None:
        """The time in which the trainings go on: what a side does without being asked happens here."""

    def finish(self) -> None:
        """What is run once after the last save, and what the side still does by itself."""

    def cool(self) -> None:
        """Before a cold read: nothing is in a daemon's own memory."""

    def read(self, save: Save, buffer: bytearray) -> int:
        return read_file(self.path(save), buffer)

    def disk(self) -> tuple[int, int]:
        """Bytes on the disk, and those of them that the saves need if no second, plain copy is kept."""
        return allocated(self.work), allocated(self.work)


class Zstd(Side):
    """`zstd -3` of each save, which replaces it."""

    name, verified, has_tool = "zstd -3 of each save", "XXH64", True

    def packed(self, save: Save) -> str:
        return f"{self.path(save)}.zst"

    def keep(self, save: Save) -> None:
        tool("zstd", "-3", "-q", "--rm", self.path(save))

    def read(self, save: Save, buffer: bytearray) -> int:
        return read_tool(["zstd", "-d", "-q", "-c", self.packed(save)], buffer)


class Btrfs(Side):
    """A filesystem of its own, on a loop device on a file of the disk."""

    name, verified = "btrfs, compress=zstd:3", "CRC32C"
    # As most people mount it: btrfs gives up on a file whose beginning does not shrink.
    options = "compress=zstd:3"

    def __init__(self, *args):
        super().__init__(*args)
        self.stack = contextlib.ExitStack()

    def start(self) -> None:
        self.work.mkdir(parents=True)
        image = self.work / "disk.img"
        disks.make_image(image, "btrfs", self.saves_bytes * 2 // MIB + 1024)
        device = self.stack.enter_context(disks.loop(image))
        self.stack.enter_context(disks.mounted(device, self.folder, self.options, "btrfs"))

    def stop(self) -> None:
        self.stack.close()

    def disk(self) -> tuple[int, int]:
        """What the filesystem says; a block of the image that was used once is never given back."""
        tool("btrfs", "filesystem", "sync", self.folder)
        for line in tool("btrfs", "filesystem", "usage", "-b", self.folder).splitlines():
            if line.strip().startswith("Used:"):
                return int(line.split()[1]), int(line.split()[1])
        raise MountError("btrfs filesystem usage does not say what is used")


class Duperemove(Btrfs):
    """Compression by force, and all of it is looked through once at the end."""

    name = "btrfs, compress-force=zstd:3, duperemove at the end"
    # It makes extents of 128 KiB at most. Of one that is larger a part may be shared, but nothing is freed by that.
    options = "compress-force=zstd:3"

    def finish(self) -> None:
        tool("duperemove", "-q", "-d", "-r", self.folder)


class Backup(Side):
    """The last save of each training stays a plain file; each save goes into a repository as soon as it is written."""

    verified, has_tool = "SHA-256", True

    def __init__(self, *args):
        super().__init__(*args)
        self.repository, self.env = self.work / "repository", {}

    def path(self, save: Save) -> Path:
        return self.folder / save.training / save.name

    def disk(self) -> tuple[int, int]:
        return allocated(self.work), allocated(self.work) - allocated(self.folder)


class Restic(Backup):
    """Always encrypted; compresses with zstd."""

    name, verified = "restic backup of each save", "Poly1305, SHA-256"

    def start(self) -> None:
        super().start()
        self.snapshots: dict[tuple[str, int], str] = {}
        (self.work / "password").write_text("compare\n")
        self.env = {"RESTIC_REPOSITORY": str(self.repository), "RESTIC_PASSWORD_FILE": str(self.work / "password"),
                    "RESTIC_CACHE_DIR": str(self.work / "cache")}
        tool("restic", "init", env=self.env)

    def keep(self, save: Save) -> None:
        lines = tool("restic", "backup", "--json", self.path(save), env=self.env).splitlines()
        self.snapshots[save.training, save.number] = json.loads(lines[-1])["snapshot_id"]

    def read(self, save: Save, buffer: bytearray) -> int:
        command = ["restic", "-q", "dump", self.snapshots[save.training, save.number], str(self.path(save))]
        return read_tool(command, buffer, self.env)


class Borg(Backup):
    """Without encryption, which is its fastest; compresses with zstd as the others do."""

    name = "borg create of each save"

    def start(self) -> None:
        super().start()
        self.env = {"BORG_REPO": str(self.repository), "BORG_BASE_DIR": str(self.work / "base"),
                    "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
        tool("borg", "init", "--encryption", "none", env=self.env)

    def keep(self, save: Save) -> None:
        tool("borg", "create", "--compression", "zstd,3", f"::{save.training}-{save.number}", self.path(save), env=self.env)

    def read(self, save: Save, buffer: bytearray) -> int:
        path = str(self.path(save)).lstrip("/")
        return read_tool(["borg", "extract", "--stdout", f"::{save.training}-{save.number}", path], buffer, self.env)

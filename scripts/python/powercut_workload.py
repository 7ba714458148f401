"""What is done on a disk whose power will be cut: every step noted with the place in the disk's log before and after.

A note is an `Op`. `begin` is the size of the log before the step, `end` the size after it was answered: in a cut at or
after `end` the step was answered, in one at or before `begin` it had not begun. The rules for what must be there are in
powercut_rules.py. Two threads, each with folders of its own: `Saver` saves files in all ways that training scripts do,
`Trainer` makes a run with versions.
"""

import dataclasses
import hashlib
import os
import pathlib
import random
import shutil
import subprocess
import threading

from crash_model import content, splice
from history_crash import checkpoint
from mounts import LIMIT_SECONDS

APPEND, PATCH = "saves/append.log", "saves/patched.bin"
# Folders beside the run that versions are brought back to.
BESIDE = "beside-"
PATCH_BYTES = 1 << 20
# Between two steps, so that the disk of the test is not full before its time is over.
PAUSE_SECONDS = 0.005
SIZES = (100, 9_000, 70_000, 400_000, 1_500_000)


@dataclasses.dataclass
class Op:
    """kind: create, replace, patch, append, unlink, mkdir, rmdir, sync_dir, list, beside, removed. synced: durable once answered.

    `seen` of a list are the files of each version, of `beside` those that a version was brought back to in `name`.
    """

    kind: str
    name: str
    begin: int
    synced: bool = False
    end: int | None = None
    gen: int = 0
    size: int = 0
    offset: int = 0
    seen: dict | None = None

    def data(self) -> bytes:
        """A whole checkpoint with a checksum for files that are saved, bytes for pieces of them."""
        if self.kind in ("patch", "append"):
            return content(self.gen, self.size)
        return checkpoint(self.gen, self.size)


class Worker(threading.Thread):
    """Steps until told to stop; `ops` is what it did, over all its sessions."""

    def __init__(self, root: pathlib.Path, log: pathlib.Path, before: "Worker | None", seed: str, fsync: bool):
        super().__init__()
        self.root, self.disk_log, self.rng, self.fsync = root, log, random.Random(seed), fsync
        self.ops: list[Op] = before.ops if before else []
        self.there: dict[str, Op] = before.there if before else {}
        self.stopped, self.error = threading.Event(), None

    def run(self) -> None:
        try:
            while not self.stopped.is_set():
                self.step()
                self.stopped.wait(PAUSE_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            self.error = error

    def finish(self) -> None:
        self.stopped.set()
        self.join(LIMIT_SECONDS)
        if self.is_alive():
            raise OSError("a workload hangs")
        if self.error:
            raise self.error

    def position(self) -> int:
        return os.stat(self.disk_log).st_size

    def do(self, kind: str, name: str, work, **facts) -> None:
        """Does a step and notes it; its file, if it makes one, is then known to be there."""
        op = Op(kind, name, self.position(), **facts)
        self.ops.append(op)
        work(op)
        op.end = self.position()
        if kind in ("create", "replace"):
            self.there[name] = op
        elif kind == "unlink":
            del self.there[name]

    def gen(self) -> int:
        return self.rng.randrange(1, 1 << 40)

    def save(self, kind: str, name: str, *, synced: bool, size: int | None = None) -> None:
        """A new file, or (`replace`) a temporary one that is renamed onto `name`."""
        size = self.rng.randrange(self.rng.choice(SIZES)) + 1 if size is None else size
        work = self.replace if kind == "replace" else self.create
        self.do(kind, name, work, synced=synced, gen=self.gen(), size=size)

    def create(self, op: Op, name: str | None = None) -> None:
        fd = os.open(self.root / (name or op.name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(fd, op.data(), 0)
            if op.synced:
                self.sync(fd)
        finally:
            os.close(fd)

    def replace(self, op: Op) -> None:
        self.create(op, op.name + ".tmp")
        os.rename(self.root / (op.name + ".tmp"), self.root / op.name)
        if op.synced:
            self.sync_dir(os.path.dirname(op.name))

    def unlink(self, name: str, *, synced: bool) -> None:
        def work(op: Op) -> None:
            os.unlink(self.root / op.name)
            if op.synced:
                self.sync_dir(os.path.dirname(op.name))

        self.do("unlink", name, work, synced=synced)

    def sync(self, fd: int) -> None:
        """A workload that lies leaves it out: then the rules must be found broken."""
        if self.fsync:
            os.fsync(fd)

    def sync_dir(self, name: str) -> None:
        fd = os.open(self.root / name, os.O_RDONLY)
        try:
            self.sync(fd)
        finally:
            os.close(fd)


def write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view[:1 << 18], offset)
        view, offset = view[written:], offset + written


class Saver(Worker):
    """Files of their own, files that are replaced with and without fsync, patched, appended to, deleted."""

    NAMES_MAX = 25

    def begin(self) -> None:
        """What every cut finds: made and durable before the first step."""
        os.mkdir(self.root / "saves")
        for name in ("saves/latest.npy", "saves/careless.npy", PATCH, APPEND):
            self.save("create", name, synced=True, size=PATCH_BYTES if name == PATCH else 100)
        self.do("sync_dir", "saves", lambda op: self.sync_dir(op.name))

    def step(self) -> None:
        files = [name for name in self.there if "/s" in name[5:]]
        kinds = {"create": 6, "latest": 3, "careless": 3, "patch": 3, "append": 3, "sync_dir": 1,
                 "unlink": 2 + max(0, len(files) - self.NAMES_MAX) if files else 0}
        kind = self.rng.choices(list(kinds), list(kinds.values()))[0]
        if kind == "create":
            self.save("create", f"saves/s{len(self.ops)}.npy", synced=self.rng.random() < 0.6)
        elif kind == "latest":
            self.save("replace", "saves/latest.npy", synced=True)
        elif kind == "careless":
            self.save("replace", "saves/careless.npy", synced=False)
        elif kind == "unlink":
            self.unlink(self.rng.choice(files), synced=self.rng.random() < 0.5)
        elif kind == "sync_dir":
            self.do("sync_dir", "saves", lambda op: self.sync_dir(op.name))
        else:
            self.piece(kind)

    def piece(self, kind: str) -> None:
        """Some bytes into a file that stays, then fsync."""
        size = self.rng.randrange(1, 60_000)
        name = PATCH if kind == "patch" else APPEND
        end = len(state_of(self.ops, name))
        offset = self.rng.randrange(end - size) if kind == "patch" else end

        def work(op: Op) -> None:
            fd = os.open(self.root / op.name, os.O_WRONLY)
            try:
                write_all(fd, op.data(), op.offset)
                self.sync(fd)
            finally:
                os.close(fd)

        self.do(kind, name, work, synced=True, gen=self.gen(), size=size, offset=offset)


def state_of(ops: list[Op], name: str) -> bytes:
    """The bytes of a file that is made, patched and appended to, after these steps."""
    data = b""
    for op in (op for op in ops if op.name == name):
        data = splice(data, op.offset, op.data()) if op.kind in ("patch", "append") else op.data()
    return data


class Trainer(Worker):
    """Checkpoints as folders of a run, the older ones deleted; `last.npy` saved over; versions looked at."""

    KEEP = 3

    def __init__(self, *args, binary: str | None, **more):
        super().__init__(*args, **more)
        self.binary = binary

    def begin(self) -> None:
        os.mkdir(self.root / "run")
        self.save("create", "run/last.npy", synced=True)
        self.do("sync_dir", "run", lambda op: self.sync_dir(op.name))

    def step(self) -> None:
        folder = f"run/checkpoint-{len(self.ops)}"
        synced = self.rng.random() < 0.6
        self.do("mkdir", folder, lambda op: os.mkdir(self.root / op.name))
        for name in ("model.npy", "optimizer.npy", "trainer_state.json"):
            size = 40 if name.endswith("json") else None
            self.save("create", f"{folder}/{name}", synced=synced, size=size)
        self.save("replace", "run/last.npy", synced=self.rng.random() < 0.5)
        folders = sorted({os.path.dirname(name) for name in self.there} - {"run"}, key=lambda name: int(name.split("-")[1]))
        for old in folders[:-self.KEEP]:
            self.remove(old, synced=self.rng.random() < 0.5)
        self.stopped.wait(self.rng.choice((0, 0.1, 0.5)))
        if self.binary:
            self.look()

    def remove(self, folder: str, *, synced: bool) -> None:
        for name in [name for name in self.there if os.path.dirname(name) == folder]:
            self.unlink(name, synced=synced)
        self.do("rmdir", folder, lambda op: os.rmdir(self.root / op.name))

    def look(self) -> None:
        """Lists the versions and reads what is new; now and then makes one, brings one back, or gives space back."""
        if self.rng.random() < 0.2:
            self.command("snapshot", self.root / "run")
        if self.rng.random() < 0.2:
            self.command("gc", self.root)
        if self.rng.random() < 0.3:
            self.bring_back()

        def work(op: Op) -> None:
            known = {number for earlier in self.ops for number, files in (earlier.seen or {}).items() if files}
            op.seen = {}
            for number in versions(self.root / "run"):
                digests = digest_of(self.root / "run/.snapshots" / number) if number not in known else {}
                op.seen[number] = digests

        self.do("list", "run", work)

    def bring_back(self) -> None:
        """The newest whole version beside the run, and one file of it in place of what the run has now."""
        latest = self.root / "run/.snapshots/latest"
        number = os.readlink(latest) if latest.is_symlink() else None
        files = digest_of(latest.parent / number) if number else None
        if not files or "last.npy" not in files:
            return
        how = self.rng.choice((("clone",), ("restore", "--to")))
        name = f"{BESIDE}{len(self.ops)}"

        def beside(op: Op) -> None:
            self.command(how[0], number, *how[1:], self.root / op.name, cwd=self.root / "run")

        self.do("beside", name, beside, synced=True, seen=files)
        saved = (op for op in self.ops if op.kind == "replace" and op.name == "run/last.npy")
        same = [op for op in saved if hashlib.sha256(op.data()).hexdigest() == files["last.npy"]]
        if same:
            back = ("restore", number, self.root / "run", "--only", "last.npy")
            self.do("replace", "run/last.npy", lambda op: self.command(*back), synced=True,
                    gen=same[0].gen, size=same[0].size)
        for old in [op.name for op in self.ops if op.kind == "beside"][:-1]:
            if (self.root / old).exists():
                self.do("removed", old, lambda op: shutil.rmtree(self.root / op.name))

    def command(self, *words, cwd: pathlib.Path | None = None) -> None:
        subprocess.run([self.binary, *map(str, words)], check=True, timeout=LIMIT_SECONDS, stdout=subprocess.DEVNULL,
                       cwd=cwd)


def versions(run: pathlib.Path) -> list[str]:
    """The numbers of a run's versions, as its `.snapshots` names them."""
    return sorted(name for name in os.listdir(run / ".snapshots") if name.isdigit())


def digest_of(version: pathlib.Path) -> dict[str, str] | None:
    """Of each file in it by its path; `None` for a version that expired while it was read."""
    digests = {}
    try:
        for folder, _, files in os.walk(version, onerror=raise_it):
            for name in files:
                path = pathlib.Path(folder) / name
                digests[str(path.relative_to(version))] = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
    return digests


def raise_it(error: OSError) -> None:
    raise error

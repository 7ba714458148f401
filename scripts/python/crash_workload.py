"""The process whose filesystem is killed under it: does operations, and logs each before it does it and when answered.

The log lies on the disk below. One line a record: `{"op": ...}` before an operation; `{"started": true}` when its
open(2) was answered; `{"answered": BYTES}` after each write(2) that was; `{"done": true}` when all of it was.
The first error ends the process: that operation stays unanswered, and nothing is done after it.
"""

import json
import mmap
import os
import pathlib
import random
import time

from crash_model import Model, content

MOST_NAMES = 40
STRAGGLER_BLOCK = 64 << 10
STRAGGLER_BLOCKS = 128


class Log:
    def __init__(self, path: pathlib.Path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o644)

    def put(self, record: dict) -> None:
        os.write(self.fd, json.dumps(record).encode() + b"\n")


class Workload:
    """Random operations below `root`, chosen by what the model says is there."""

    def __init__(self, root: str, model: Model, log: Log, seed: str):
        self.root, self.model, self.log, self.rng = root, model, log, random.Random(seed)

    def path(self, name: str) -> str:
        return os.path.join(self.root, name)

    def fresh(self) -> str:
        directory = self.rng.choice(self.model.directories())
        return os.path.join(directory, f"n{self.rng.randrange(10 ** 9)}")

    def size(self) -> int:
        return self.rng.randrange(1, self.rng.choice((100, 8 << 10, 8 << 10, 300 << 10, 3 << 20)))

    # ---- choosing: a dictionary that says everything, or None when there is nothing to do it to ----

    def some_file(self) -> str | None:
        files = self.model.files()
        return self.rng.choice(files) if files else None

    def choose_create(self) -> dict:
        return {"name": self.fresh(), "seed": self.rng.randrange(10 ** 9), "size": self.size(),
                "sync": self.rng.random() < 0.1}

    def choose_rewrite(self) -> dict | None:
        name = self.some_file()
        return name and {**self.choose_create(), "name": name}

    def choose_write(self) -> dict | None:
        """In place or, half of the time, appended."""
        name = self.some_file()
        if not name:
            return None
        end = len(self.model.names[name].data)
        offset = end if self.rng.random() < 0.5 else self.rng.randrange(end + 1)
        return {**self.choose_create(), "name": name, "offset": offset, "size": self.rng.randrange(1, 100_000)}

    def choose_map(self) -> dict | None:
        name = self.some_file()
        end = len(self.model.names[name].data) if name else 0
        if not end:
            return None
        offset = self.rng.randrange(end)
        return {"name": name, "offset": offset, "size": self.rng.randrange(1, min(100_000, end - offset) + 1),
                "seed": self.rng.randrange(10 ** 9)}

    def choose_truncate(self) -> dict | None:
        name = self.some_file()
        return name and {"name": name, "size": self.rng.randrange(len(self.model.names[name].data) + 5000)}

    def choose_unlink(self) -> dict | None:
        names = [name for name, node in self.model.names.items() if node.kind != "dir"]
        return {"name": self.rng.choice(names)} if names else None

    def choose_mkdir(self) -> dict | None:
        return {"name": self.fresh()} if len(self.model.directories()) < 6 else None

    def choose_rmdir(self) -> dict | None:
        empty = [name for name in self.model.directories() if name and not self.model.under(name)]
        return {"name": self.rng.choice(empty)} if empty else None

    def choose_symlink(self) -> dict:
        return {"name": self.fresh(), "target": f"target-{self.rng.randrange(1000)}"}

    def choose_link(self) -> dict | None:
        name = self.some_file()
        return name and {"source": name, "name": self.fresh()}

    def choose_rename(self) -> dict | None:
        """To a fresh name or, more often, over another of its kind: a file over a file, a symlink over a symlink."""
        names = list(self.model.names)
        if not names:
            return None
        source = self.rng.choice(names)
        kind = self.model.names[source].kind
        others = [name for name in names if self.model.names[name].kind == kind and name != source]
        if kind != "dir" and others and self.rng.random() < 0.7:
            return {"source": source, "name": self.rng.choice(others)}
        name = self.fresh()
        return None if name.startswith(source + "/") else {"source": source, "name": name}

    # ---- doing ----

    def put(self, op: dict, flags: int, offset: int = 0) -> None:
        fd = os.open(self.path(op["name"]), os.O_WRONLY | flags, 0o644)
        try:
            self.log.put({"started": True})
            view, answered = memoryview(content(op["seed"], op["size"])), 0
            while answered < len(view):
                answered += os.pwrite(fd, view[answered:answered + (1 << 20)], offset + answered)
                self.log.put({"answered": answered})
            if op.get("sync"):
                os.fsync(fd)
        finally:
            os.close(fd)

    def do_create(self, op: dict) -> None:
        self.put(op, os.O_CREAT | os.O_EXCL)

    def do_rewrite(self, op: dict) -> None:
        self.put(op, os.O_TRUNC)

    def do_write(self, op: dict) -> None:
        self.put(op, 0, op["offset"])

    def do_map(self, op: dict) -> None:
        fd = os.open(self.path(op["name"]), os.O_RDWR)
        try:
            with mmap.mmap(fd, 0) as view:
                view[op["offset"]:op["offset"] + op["size"]] = content(op["seed"], op["size"])
                view.flush()
        finally:
            os.close(fd)

    def do_truncate(self, op: dict) -> None:
        os.truncate(self.path(op["name"]), op["size"])

    def do_unlink(self, op: dict) -> None:
        os.unlink(self.path(op["name"]))

    def do_mkdir(self, op: dict) -> None:
        os.mkdir(self.path(op["name"]))

    def do_rmdir(self, op: dict) -> None:
        os.rmdir(self.path(op["name"]))

    def do_symlink(self, op: dict) -> None:
        os.symlink(op["target"], self.path(op["name"]))

    def do_link(self, op: dict) -> None:
        os.link(self.path(op["source"]), self.path(op["name"]))

    def do_rename(self, op: dict) -> None:
        os.rename(self.path(op["source"]), self.path(op["name"]))

    WEIGHTS = {"create": 8, "rewrite": 3, "write": 6, "map": 2, "truncate": 1, "unlink": 3, "mkdir": 1, "rmdir": 1,
               "symlink": 1, "link": 1, "rename": 8}

    def step(self) -> None:
        kind = self.rng.choices(list(self.WEIGHTS), list(self.WEIGHTS.values()))[0]
        if len(self.model.names) > MOST_NAMES:
            kind = self.rng.choice(("unlink", "rename"))
        op = getattr(self, "choose_" + kind)()
        if not op:
            return
        op["op"] = kind
        self.log.put(op)
        getattr(self, "do_" + kind)(op)
        self.log.put({"done": True})
        self.model.apply(op)

    def run(self) -> None:
        """Until the filesystem is gone, or nobody took it away for 30 s."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                self.step()
            except OSError as error:
                self.log.put({"error": error.errno, "text": str(error)})
                return


def straggle(path: str, seed: int, log: Log, stop: int) -> None:
    """Writes on through a descriptor of the dead mount while a new one is made; `stop` is readable when to end."""
    os.set_blocking(stop, False)
    data = content(seed, STRAGGLER_BLOCK * STRAGGLER_BLOCKS)
    answered = 0
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        log.put({"started": True})
        while answered < len(data) and not stopped(stop):
            answered += os.pwrite(fd, data[answered:answered + STRAGGLER_BLOCK], answered)
            log.put({"answered": answered})
            time.sleep(0.01)
        # Mapped or not, an open descriptor may still be written: hold it until told.
        while not stopped(stop):
            time.sleep(0.01)
        os.close(fd)
    except OSError as error:
        log.put({"error": error.errno, "text": str(error)})


def stopped(stop: int) -> bool:
    try:
        return bool(os.read(stop, 1)) or True
    except BlockingIOError:
        return False

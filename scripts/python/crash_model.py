"""What a folder must hold after a list of answered operations and at most one unanswered one.

Operations are dictionaries that a workload logs before it does them. A `Model` is the state after those answered. For
the unanswered one, `outcomes` gives what else is allowed: an operation on names happened or did not, whole; a write
left a prefix of itself (stores into a mapping: any of its pages); nothing else may differ from the model.
"""

import copy
import dataclasses
import os
import random
import stat

PAGE = 4096


def content(seed: int, size: int) -> bytes:
    """The bytes that a seed stands for; every third seed compresses."""
    rng = random.Random(seed)
    if seed % 3 == 0:
        return (rng.randbytes(97) * (size // 97 + 1))[:size]
    return rng.randbytes(size)


def splice(old: bytes, offset: int, data: bytes) -> bytes:
    """`old` with `data` written at `offset`."""
    if not data:
        return old
    return old[:offset].ljust(offset, b"\0") + data + old[offset + len(data):]


@dataclasses.dataclass
class Node:
    """kind: file, dir or symlink; data: bytes of a file, target of a symlink."""

    kind: str
    data: object = None


class Model:
    """Names (relative, with /) to nodes; hard links are names of the same node."""

    def __init__(self):
        self.names: dict[str, Node] = {}

    def files(self) -> list[str]:
        return [name for name, node in self.names.items() if node.kind == "file"]

    def directories(self) -> list[str]:
        return ["", *(name for name, node in self.names.items() if node.kind == "dir")]

    def under(self, directory: str) -> list[str]:
        return [name for name in self.names if name.startswith(directory + "/")]

    def clone(self) -> "Model":
        """Nodes are copied, names that share one go on sharing it; bytes are never changed in place."""
        return copy.deepcopy(self)

    def apply(self, op: dict) -> None:
        """The state after `op` was answered."""
        getattr(self, "do_" + op["op"])(op)

    def do_create(self, op: dict) -> None:
        self.names[op["name"]] = Node("file", content(op["seed"], op["size"]))

    def do_rewrite(self, op: dict) -> None:
        self.names[op["name"]].data = content(op["seed"], op["size"])

    def do_write(self, op: dict) -> None:
        node = self.names[op["name"]]
        node.data = splice(node.data, op["offset"], content(op["seed"], op["size"]))

    do_map = do_write

    def do_truncate(self, op: dict) -> None:
        node = self.names[op["name"]]
        node.data = node.data[:op["size"]].ljust(op["size"], b"\0")

    def do_unlink(self, op: dict) -> None:
        del self.names[op["name"]]

    do_rmdir = do_unlink

    def do_mkdir(self, op: dict) -> None:
        self.names[op["name"]] = Node("dir")

    def do_symlink(self, op: dict) -> None:
        self.names[op["name"]] = Node("symlink", op["target"])

    def do_link(self, op: dict) -> None:
        self.names[op["name"]] = self.names[op["source"]]

    def do_rename(self, op: dict) -> None:
        source, name = op["source"], op["name"]
        # rename(2) of two names of one file does nothing.
        if self.names.get(name) is self.names[source]:
            return
        for old in self.under(source):
            self.names[name + old[len(source):]] = self.names.pop(old)
        self.names[name] = self.names.pop(source)


def common_prefix(left: bytes, right: bytes) -> int:
    return len(os.path.commonprefix([left, right]))


def partial(before: Model, op: dict, answered: int, read) -> Model | None:
    """The state in which a data operation got only as far as the disk shows, if that is one it may leave.

    `answered` counts the bytes whose write(2) had returned: they must be there. `read(name)` gives a file's bytes.
    """
    kind, name = op["op"], op["name"]
    if kind not in ("create", "rewrite", "write", "map"):
        return None
    old = b"" if kind in ("create", "rewrite") else before.names[name].data
    offset = op.get("offset", 0)
    data, got = content(op["seed"], op["size"]), read(name)
    if got is None:
        return None
    if kind == "map":
        new = splice(old, offset, data)
        pages = range(0, len(new), PAGE)
        whole = len(got) == len(old) and all(
            got[at:at + PAGE] in (old[at:at + PAGE], new[at:at + PAGE]) for at in pages)
        landed = got if whole else None
    else:
        reached = min(max(common_prefix(got, splice(old, offset, data)) - offset, 0), len(data))
        landed = splice(old, offset, data[:reached])
        landed = landed if reached >= answered and landed == got else None
    if landed is None:
        return None
    after = before.clone()
    if kind == "create":
        after.names[name] = Node("file", landed)
    else:
        after.names[name].data = landed
    return after


def outcomes(before: Model, op: dict, answered: int, started: bool, read) -> list[Model]:
    """Every state that an unanswered `op` may leave. `started`: its open(2), which may create or empty, was answered."""
    after = before.clone()
    after.apply(op)
    allowed = [after]
    if not started and not answered:
        allowed.append(before)
    in_between = partial(before, op, answered, read)
    if in_between:
        allowed.append(in_between)
    return allowed


def differences(model: Model, root: str) -> list[str]:
    """How the folder differs from the model, one line each; reads every byte of it."""
    found = []
    links: dict[int, int] = {}
    for node in model.names.values():
        links[id(node)] = links.get(id(node), 0) + 1
    seen = set(walk(root))
    found += [f"{name}: answered, but lost" for name in sorted(model.names.keys() - seen)]
    found += [f"{name}: there, but it was deleted or renamed away, or never made" for name in sorted(seen - model.names.keys())]
    for name in sorted(seen & model.names.keys()):
        node = model.names[name]
        try:
            problem = compare(node, os.path.join(root, name), links[id(node)])
        except OSError as error:
            problem = str(error)
        if problem:
            found.append(f"{name}: {problem}")
    return found


def walk(root: str) -> list[str]:
    """Every name below `root`, relative; an unreadable directory is an error, not an empty one."""
    names, todo = [], [""]
    while todo:
        directory = todo.pop()
        with os.scandir(os.path.join(root, directory)) as entries:
            for entry in entries:
                name = os.path.join(directory, entry.name)
                names.append(name)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(name)
    return names


def compare(node: Node, path: str, links: int) -> str | None:
    status = os.lstat(path)
    kind = {stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFREG: "file"}.get(stat.S_IFMT(status.st_mode), "other")
    if kind != node.kind:
        return f"is a {kind} instead of a {node.kind}"
    if kind == "symlink" and os.readlink(path) != node.data:
        return f"points to {os.readlink(path)} instead of {node.data}"
    if kind != "file":
        return None
    if status.st_nlink != links:
        return f"has {status.st_nlink} links instead of {links}"
    if status.st_size != len(node.data):
        return f"has {status.st_size} bytes instead of {len(node.data)}"
    with open(path, "rb") as file:
        got = file.read()
    if got != node.data:
        return f"{len(got)} bytes, different from byte {common_prefix(got, node.data)} on, of {len(node.data)}"
    return None

"""What must be on a disk after a power cut, for the steps of powercut_workload.py.

Answered and synced before the cut: exactly so. Begun before the cut: done or not, names whole, bytes in any sectors. Begun
after it: not there. A file that was renamed over another is whole, one or the other, synced or not. In a file that was
never synced each sector holds what was written there, or zeros. Nothing else is anywhere.

What was shown as a version is there, with the same bytes; what is shown as complete holds whole files only. A version that
was brought back beside the run is there, whole, once that was answered; before, it is whole or not there.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re

from crash_model import walk
from powercut_log import SECTOR
from powercut_workload import APPEND, BESIDE, PATCH, Op, digest_of, state_of, versions

ABSENT, FOLDER = "nothing", "a folder"


@dataclasses.dataclass(frozen=True)
class Allowed:
    """One state that a name may be in: ABSENT, FOLDER or bytes; `whole` bytes are exact, others may lack sectors."""

    state: object
    whole: bool = True

    def fits(self, got: object) -> bool:
        if isinstance(got, bytes) and isinstance(self.state, bytes):
            return got == self.state if self.whole else is_part(got, self.state)
        return got is self.state

    def __str__(self) -> str:
        return self.state if isinstance(self.state, str) else f"{'' if self.whole else 'some of '}{len(self.state)} bytes"


def is_part(got: bytes, data: bytes) -> bool:
    """No longer than `data`, each sector of it as there or zeros."""
    pieces = ((got[at:at + SECTOR], data[at:at + SECTOR]) for at in range(0, len(got), SECTOR))
    return len(got) <= len(data) and all(piece == right[:len(piece)] or not any(piece) for piece, right in pieces)


def describe(got: object) -> str:
    return f"{len(got)} bytes" if isinstance(got, bytes) else str(got)


class Rules:
    """The steps of one worker, asked about one cut at a time."""

    def __init__(self, ops: list[Op]):
        self.ops, self.names = ops, {}
        for index, op in enumerate(ops):
            if op.kind in ("create", "replace", "unlink", "mkdir", "rmdir"):
                self.names.setdefault(op.name, []).append(index)

    def name_is_durable(self, index: int, cut: int) -> bool:
        """A later step synced the folder, and was answered before the cut."""
        folder = os.path.dirname(self.ops[index].name)
        syncs = ((op.kind == "sync_dir" and op.name == folder) or
                 (op.kind in ("replace", "unlink") and op.synced and os.path.dirname(op.name) == folder)
                 for op in self.ops[index + 1:] if op.end is not None and op.end <= cut)
        return any(syncs)

    def allowed(self, name: str, cut: int) -> list[Allowed]:
        """The states that `name` may be in; never empty."""
        states = [Allowed(ABSENT)]
        for index in self.names[name]:
            op = self.ops[index]
            if op.begin >= cut:
                break
            answered = op.end is not None and op.end <= cut
            if op.kind in ("unlink", "rmdir"):
                state = Allowed(ABSENT)
            elif op.kind == "mkdir":
                state = Allowed(FOLDER)
            else:
                state = Allowed(op.data(), op.kind == "replace" or (op.synced and answered))
            if answered and (op.synced or self.name_is_durable(index, cut)):
                states = []
            states.append(state)
        return states

    def begun(self, name: str, cut: int) -> bool:
        return any(self.ops[index].begin < cut for index in self.names.get(name, ()))

    def temporary(self, name: str, cut: int) -> list[Allowed]:
        """A file that was about to be renamed onto another one."""
        replacing = [self.ops[index] for index in self.names.get(name.removesuffix(".tmp"), ())]
        return [Allowed(op.data(), False) for op in replacing if op.kind == "replace" and op.begin < cut]

    def pieces(self, name: str, cut: int) -> tuple[bytes, bytes]:
        """The bytes of a file that is patched or appended to: after the answered steps, and after the one on its way."""
        before = [op for op in self.ops if op.end is not None and op.end <= cut]
        begun = [op for op in self.ops if op.begin < cut]
        return state_of(before, name), state_of(begun, name)

    def problems(self, root: pathlib.Path, folder: str, cut: int) -> list[str]:
        """What is wrong with `folder` below `root`, a line each; nothing when it had not been made."""
        made = next((op.end for op in self.ops if op.kind == "sync_dir"), None)
        if made is None or made > cut:
            return []
        found = []
        there = {os.path.join(folder, name) for name in walk(str(root / folder))}
        for name in sorted(there | self.names.keys()):
            got = read(root / name)
            if name in (PATCH, APPEND):
                found += wrong_pieces(name, got, *self.pieces(name, cut))
                continue
            # A replacement that is taken back is kept so when its temporary name was used again.
            plain = re.sub(r"\.power-cut-\d+$", "", name)
            allowed = self.temporary(plain, cut) if plain.endswith(".tmp") else []
            if name in self.names:
                allowed = self.allowed(name, cut)
            if not any(state.fits(got) for state in allowed):
                wanted = " or ".join(map(str, allowed)) or "nothing, as it was never made"
                found.append(f"{name}: {describe(got)}; must be {wanted}")
        return found


def wrong_pieces(name: str, got: object, before: bytes, after: bytes) -> list[str]:
    """Synced bytes are as they were; those of the step on its way are there, not there, or in some sectors."""
    if not isinstance(got, bytes):
        return [f"{name}: {got}, but it was synced"]
    if not len(before) <= len(got) <= len(after):
        return [f"{name}: {len(got)} bytes; must be {len(before)} to {len(after)}"]
    for at in range(0, len(got), SECTOR):
        piece, old, new = (data[at:at + SECTOR] for data in (got, before, after))
        grown = old.ljust(len(piece), b"\0")
        if piece not in (old, new[:len(piece)], grown):
            return [f"{name}: wrong bytes in the sector at {at} of {len(got)} ({len(before)} synced)"]
    return []


def read(path: pathlib.Path) -> object:
    try:
        return FOLDER if path.is_dir() else path.read_bytes()
    except FileNotFoundError:
        return ABSENT
    except OSError as error:
        return f"error: {error}"


class VersionRules:
    """The versions of the trainer's run."""

    def __init__(self, ops: list[Op]):
        self.lists = [op for op in ops if op.kind == "list" and op.end is not None]
        self.digests: dict[str, dict] = {}
        for op in self.lists:
            self.digests.update({number: files for number, files in op.seen.items() if files})
        self.saves: dict[str, list[Op]] = {}
        for op in ops:
            if op.kind in ("create", "replace"):
                self.saves.setdefault(op.name, []).append(op)

    def promised(self, cut: int) -> set[str]:
        """The versions that had been shown by the cut and were not yet on their way out."""
        before = [op for op in self.lists if op.end <= cut]
        after = [op for op in self.lists if op.end > cut]
        if not before or not after:
            return set()
        return before[-1].seen.keys() & after[0].seen.keys()

    def problems(self, run: pathlib.Path, cut: int) -> list[str]:
        if not run.is_dir():
            return []
        try:
            there = versions(run)
            found = [f"version {number}: was shown, is gone" for number in sorted(self.promised(cut) - set(there))]
            for number in there:
                found += self.wrong_version(run, number, number in self.promised(cut))
            latest = run / ".snapshots/latest"
            if latest.is_symlink() and not is_good(run, os.readlink(latest)):
                found.append(f"latest is {os.readlink(latest)}, which is not complete and valid")
        except OSError as error:
            found = [f"versions cannot be read: {error}"]
        return found

    def wrong_version(self, run: pathlib.Path, number: str, promised: bool) -> list[str]:
        version = run / ".snapshots" / number
        digests = digest_of(version)
        if digests is None:
            return []
        if promised and self.digests.get(number, digests) != digests:
            return [f"version {number}: other files or bytes than it was shown with"]
        good = is_good(run, number)
        found = []
        for path, digest in digests.items():
            saves = [op.data() for op in self.saves.get(f"run/{path.removesuffix('.tmp')}", ())]
            whole = any(hashlib.sha256(data).hexdigest() == digest for data in saves)
            got = (version / path).read_bytes()
            if not whole and (good or not any(is_part(got, data) for data in saves)):
                found.append(f"version {number} ({'good' if good else 'incomplete'}): {path} has {len(got)} bytes "
                             "that were never saved so")
        return found


class BesideRules:
    """The folders that versions of the run were brought back to."""

    def __init__(self, ops: list[Op]):
        self.made = {op.name: op for op in ops if op.kind == "beside"}
        self.removed = {op.name: op.begin for op in ops if op.kind == "removed"}

    def problems(self, root: pathlib.Path, cut: int) -> list[str]:
        found = []
        there = {path.name for path in root.glob(f"{BESIDE}*")}
        for name, op in self.made.items():
            if self.removed.get(name, cut) < cut:
                continue
            answered = op.end is not None and op.end <= cut
            if name in there and (op.begin >= cut or digest_of(root / name) != op.seen):
                found.append(f"{name}: not what was brought back there")
            elif answered and name not in there:
                found.append(f"{name}: was brought back, is gone")
        return found + [f"{name}: was never made" for name in sorted(there - self.made.keys())]


def is_good(run: pathlib.Path, number: str) -> bool:
    info = json.loads((run / ".snapshots/.info" / f"{number}.json").read_text())
    return info["complete"] and info["valid"]

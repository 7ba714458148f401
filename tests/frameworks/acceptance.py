"""What acceptance tests know of each writer, and the course that every training takes on a mount.

The course: a training makes saves, is killed (SIGKILL) in the middle of one, goes on from `.snapshots/latest` and makes
the rest. Whatever the kill has hit, each save that returned is one good version, and every good version holds bit for bit
what the training said that it would save. Nothing here waits for a quiet time: the mount makes versions by what the
writers do, and its end makes one of what is left.
"""

import os
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from history import AT_UNMOUNT, at, log, runs, settled, wait_for_versions
from mount import Mount
from trainers import Job, Trainers, notes

KEEP_ALL = "max_to_keep=0"
# Saves that return before the kill, and saves in all.
KILLED_AFTER = 2
SAVES = 5
CHANGE_SECONDS = 60


def packages(*names: str) -> str:
    """Packages with their versions, for the listing."""
    return ", ".join(f"{name} {version(name)}" for name in names)


@dataclass(frozen=True)
class Trained:
    """A way of training: functions `train_NAME` and `load_LOAD` of a module, and what it leaves of its own checkpoints."""

    name: str
    module: str
    load: str
    packages: tuple[str, ...]
    left: tuple[str, int]
    ranks: int = 1
    # Nothing that the writer does ends a save: each is waited for, as a training of minutes gives time to.
    quiet: bool = False
    # A save is several files, and cut between two of them it looks whole: nothing tells which is the last, or that one does.
    unmarked: bool = False
    # What is there is changed in place: cut in the middle, it may look whole and be of two saves.
    in_place: bool = False
    # A version is copied back before the training goes on, which can make one more.
    copies_back: bool = False
    # The run, below the folder that the training is given.
    below: str = ""

    @property
    def function(self) -> str:
        return f"train_{self.name.replace('-', '_')}"

    def told(self) -> str:
        """Packages with their versions."""
        return packages(*self.packages)


class Course:
    """One training on one mount."""

    def __init__(self, mount: Mount, writer: Trained, work: Path):
        self.mount, self.writer, self.work = mount, writer, work
        self.folder = mount.path / "exp"
        self.run = self.folder / writer.below
        self.settle = "1s" if writer.quiet else AT_UNMOUNT
        mount.mount(self.settle, KEEP_ALL)

    def train(self, name: str, saves: int, holds: tuple[int, ...], resume: Path | None = None) -> Trainers:
        job = Job(self.folder, self.work / name, saves, holds, resume)
        return Trainers(self.writer.module, self.writer.function, job, self.writer.ranks)

    def follow(self, trainers: Trainers, first: int, last: int, before: int) -> None:
        """Lets a training go on when the version of each save is there, where nothing else tells of it."""
        for number in range(first, last + 1):
            trainers.wait_for(f"saved-{number}")
            if self.writer.quiet:
                wait_for_versions(self.mount, self.run, before + number - first + 1)
            if number < last:
                trainers.go_on(number)

    def killed(self) -> bool:
        """Trains, and kills at the first change that the save after KILLED_AFTER makes; whether that was in the middle."""
        holds = tuple(range(1, KILLED_AFTER + 1)) if self.writer.quiet else (KILLED_AFTER,)
        with self.train("first", SAVES, holds) as trainers:
            self.follow(trainers, 1, KILLED_AFTER, 0)
            before = looks(self.run)
            trainers.go_on(KILLED_AFTER)
            trainers.wait_for(f"saving-{KILLED_AFTER + 1}")
            wait_for_change(self.run, before)
            trainers.kill()
        return not notes_of(self.work / "first", f"saved-{KILLED_AFTER + 1}", self.writer.ranks)

    def resumed(self, version: Path) -> int:
        """Trains on from a version to the end; the number of the save that the training found there."""
        before = len(log(self.mount, self.run))
        holds = tuple(range(1, SAVES)) if self.writer.quiet else ()
        with self.train("second", SAVES, holds, version) as trainers:
            trainers.wait_for("resumed")
            (note,) = (self.work / "second").glob("resumed-*.0")
            number = int(note.stem.split("-")[1])
            if self.writer.quiet:
                self.follow(trainers, number + 1, SAVES, before)
            trainers.finish()
        return number

    def versions(self) -> list[dict]:
        return settled(self.mount, self.run, self.settle, KEEP_ALL)

    def said(self, name: str, number: int) -> dict:
        """What a training was about to save."""
        return notes(self.work / name, f"saving-{number}")

    def load(self, name: str, wanted: list[tuple[int, Path, dict]]) -> list[dict]:
        """What the framework finds in versions: for each the number of the save to look for, and the directory."""
        places = [(number, path) for number, path, _ in wanted]
        job = LoadJob(self.folder, self.work / name, 0, wanted=places, writer=self.writer)
        with Trainers("acceptance", "load", job) as loading:
            loading.finish()
        return [notes(job.notes, f"loaded-{place}") for place in range(len(wanted))]


@dataclass
class LoadJob(Job):
    """Versions to load, and with what."""

    wanted: list[tuple[int, Path]] = ()
    writer: Trained | None = None


def load(job: LoadJob) -> None:
    """The process that loads."""
    import importlib

    function = getattr(importlib.import_module(job.writer.module), f"load_{job.writer.load}")
    for place, (number, folder) in enumerate(job.wanted):
        job.loaded(place, function(folder, number))


def looks(folder: Path) -> set:
    """Names, sizes and times of all files below a folder."""
    found = set()
    for top, _, names in os.walk(folder):
        for name in names:
            try:
                info = os.lstat(os.path.join(top, name))
            except FileNotFoundError:
                continue
            found.add((top, name, info.st_size, info.st_mtime_ns))
    return found


def wait_for_change(folder: Path, before: set) -> None:
    """Returns as soon as a file below a folder is not as it was."""
    deadline = time.monotonic() + CHANGE_SECONDS
    while looks(folder) == before:
        assert time.monotonic() < deadline, f"nothing below {folder} has changed for {CHANGE_SECONDS} s"


def notes_of(folder: Path, name: str, ranks: int) -> bool:
    return any((folder / f"{name}.{rank}").exists() for rank in range(ranks))


def take(course: Course) -> str:
    """The whole course; returns what was seen, for the listing."""
    writer = course.writer
    cut = course.killed()
    there = {path.name for path in course.folder.glob(writer.left[0])}
    after_kill = course.versions()
    good = [each["number"] for each in after_kill if is_good(each)]
    bad = len(after_kill) - len(good)
    assert len(good) in ({KILLED_AFTER, KILLED_AFTER + 1} if cut else {KILLED_AFTER + 1}) and bad <= 1, told(after_kill)
    if cut and writer.in_place:
        del good[KILLED_AFTER:]

    latest = course.run / ".snapshots/latest"
    resumed = course.resumed(at(course.run, good[-1]) if writer.in_place else latest)
    assert KILLED_AFTER <= resumed <= len(good), f"went on from save {resumed}: {told(after_kill)}"
    check("what it went on from", notes(course.work / "second", f"resumed-{resumed}"), course.said("first", resumed))

    final = course.versions()
    fresh = [each["number"] for each in final[len(after_kill):] if is_good(each)]
    again = writer.copies_back and len(fresh) == SAVES - resumed + 1
    assert len(fresh) == SAVES - resumed + again == len(final) - len(after_kill), told(final)
    wanted = [(save, at(course.run, number), course.said("first", save)) for save, number in enumerate(good, 1)]
    if again:
        wanted.append((resumed, at(course.run, fresh.pop(0)), course.said("first", resumed)))
    wanted += [(save, at(course.run, number), course.said("second", save)) for save, number in enumerate(fresh, resumed + 1)]
    wanted.append((SAVES, latest, course.said("second", SAVES)))
    for (save, path, said), found in zip(wanted, course.load("loaded", wanted), strict=True):
        if writer.unmarked and cut and path == at(course.run, good[-1]) and save > KILLED_AFTER:
            said = {name: value for name, value in said.items() if name in found}
        check(path, found, said)

    assert list(runs(course.mount)) == [str(course.run.relative_to(course.mount.path))], "nothing else is a run"
    check_left(course, there)
    return f"{len(good)}{' and a cut one' if bad else ''}, then {len(final) - len(after_kill)}"


def check_left(course: Course, before: set[str]) -> None:
    """Its own retention has left as many as it should; killed before it came to it, it may have forgotten one of `before`."""
    pattern, count = course.writer.left
    left = {path.name for path in course.folder.glob(pattern)}
    forgotten = sorted(left & before)[: len(left) - count]
    assert len(left) - len(forgotten) == count and len(forgotten) <= 1, f"{sorted(left)} are left, of {sorted(before)} and later ones"


def is_good(version: dict) -> bool:
    return version["complete"] and version["valid"]


def check(what, found: dict, expected: dict) -> None:
    """Bit for bit, name by name."""
    different = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    assert not different, f"{what}: {len(different)} of {len(expected)} differ: {sorted(different)[:5]}"


def told(versions: list[dict]) -> list:
    return [(each["number"], each["trigger"], each["complete"], each["valid"], each["why"], each["step"]) for each in versions]

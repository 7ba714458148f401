"""Trainings as processes of their own: what a job is told, what it tells, and how a test holds, ends and kills it.

A job says what it is about to save, in digests of what it has in memory, in notes outside of the mount: what is loaded
later is compared with these, so the filesystem is never asked twice about the same thing. The processes are forked from
one that has loaded the frameworks, which takes longer than the trainings.
"""

import importlib
import json
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path

Digests = dict[str, str]

# Bounds for a busy machine, not expectations.
NOTE_SECONDS = 90
EXIT_SECONDS = 90

CONTEXT = multiprocessing.get_context("forkserver")


@dataclass
class Job:
    """One process of a training: it makes saves `done + 1` to `saves`, and holds after those in `holds`."""

    folder: Path
    notes: Path
    saves: int
    holds: tuple[int, ...] = ()
    resume: Path | None = None
    rank: int = 0
    ranks: int = 1
    ports: tuple[int, ...] = ()

    @property
    def seed(self) -> int:
        """Another one for a training that goes on: a save that is made again is not the same bytes again."""
        return 0 if self.resume is None else 1

    def saving(self, number: int, digests: Digests) -> None:
        """What the save that begins now holds."""
        assert digests, "a save of nothing proves nothing"
        self._note(f"saving-{number}", digests)

    def saved(self, number: int) -> None:
        """The save has returned. Where the test wants to look, the training waits."""
        self._note(f"saved-{number}", {})
        while number in self.holds and not (self.notes / f"go-{number}").exists():
            time.sleep(0.005)

    def resumed(self, number: int, digests: Digests) -> None:
        """What was found in the checkpoint that this training goes on from: the save of that number."""
        self._note(f"resumed-{number}", digests)
        self._note("resumed", {})

    def loaded(self, number: int, digests: Digests) -> None:
        """What was found in a version."""
        self._note(f"loaded-{number}", digests)

    def _note(self, name: str, value: dict) -> None:
        path = self.notes / f"{name}.{self.rank}"
        unfinished = path.with_name(f".{path.name}")
        unfinished.write_text(json.dumps(value))
        unfinished.rename(path)


class Trainers:
    """The processes of one job. They end with the block, whatever the test does."""

    def __init__(self, module: str, function: str, job: Job, ranks: int = 1):
        self.job = job
        job.notes.mkdir(exist_ok=True)
        job.folder.mkdir(exist_ok=True)
        self.log = job.notes / "log"
        ports = free_ports(ranks)
        jobs = [replace(job, rank=rank, ranks=ranks, ports=ports) for rank in range(ranks)]
        start_server()
        self.processes = [CONTEXT.Process(target=run, args=(module, function, each, self.log)) for each in jobs]
        for process in self.processes:
            process.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def wait_for(self, name: str) -> None:
        """Waits until every process has written the note `name`."""
        deadline = time.monotonic() + NOTE_SECONDS
        for rank in range(len(self.processes)):
            while not (self.job.notes / f"{name}.{rank}").exists():
                assert all(process.is_alive() for process in self.processes), f"ended before {name}: {self.said()}"
                assert time.monotonic() < deadline, f"no {name} within {NOTE_SECONDS} s: {self.said()}"
                time.sleep(0.005)

    def go_on(self, number: int) -> None:
        """Lets a training go on that holds after save `number`."""
        (self.job.notes / f"go-{number}").touch()

    def kill(self) -> None:
        """SIGKILL to all at once, as when a machine goes down."""
        for process in self.processes:
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.join(EXIT_SECONDS)

    def finish(self) -> None:
        """Waits for the end, which must come without an error."""
        for process in self.processes:
            process.join(EXIT_SECONDS)
            assert process.exitcode == 0, f"a training ended with {process.exitcode}: {self.said()}"

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else "nothing was said"


def run(module: str, function: str, job: Job, log: Path) -> None:
    """The whole of a process."""
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    getattr(importlib.import_module(module), function)(job)


def start_server() -> None:
    """Starts the process to fork from, which finds the modules of this folder."""
    CONTEXT.set_forkserver_preload(["trainers_loaded"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *([before] if before else [])])
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = tuple(each.getsockname()[1] for each in sockets)
    for each in sockets:
        each.close()
    return ports


def notes(folder: Path, name: str) -> dict:
    """A note of all processes: what each says of its own part."""
    found: dict = {}
    for path in sorted(folder.glob(f"{name}.*")):
        found |= json.loads(path.read_text())
    return found

"""Kills the daemon at random moments, again and again on one store, and checks that nothing answered was lost.

A round: mount (cleaning up the dead mount), check what the round before left, work with two processes, kill or end the
daemon. Options change from round to round: passthrough, how soon files are sealed, how many stay hot, foreground or
background, a kill while it recovers, a process that holds a file of the dead mount open and writes on. The first
violation ends the run and everything is kept. See crash_model.py for what is allowed.
"""

import argparse
import collections
import json
import os
import pathlib
import pickle
import random
import signal
import sys
import time

from crash_model import Model, content, differences, outcomes
from crash_workload import Log, Workload, straggle
from mounts import LIMIT_SECONDS, Mount, MountError

WORKERS = 2
# What a process may be told by a filesystem whose daemon was killed: EINTR, EIO, ENODEV, ECONNABORTED, ENOTCONN.
DEAD = {4, 5, 19, 103, 107}


class Violation(Exception):
    """The filesystem broke a promise."""


def fork(work) -> int:
    """A child of ours that does `work` and ends without this process's cleanups."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:  # The child must never return into the parent's code.
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return pid


def reap(pid: int, what: str, limit: float = LIMIT_SECONDS) -> int:
    """The child's status; one that hangs (a filesystem that does not answer) is killed and is a violation."""
    end = time.monotonic() + limit
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            raise Violation(f"{what} did not end within {limit:.0f} s: an operation hangs")
        time.sleep(0.002)


def in_child(work, what: str):
    """The result of `work`, done in a child so that a filesystem that hangs cannot hang this process."""
    reading, writing = os.pipe()

    def child() -> None:
        with os.fdopen(writing, "wb") as out:
            pickle.dump(work(), out)

    pid = fork(child)
    os.close(writing)
    with os.fdopen(reading, "rb") as result:
        pieces, end = [], time.monotonic() + LIMIT_SECONDS
        os.set_blocking(result.fileno(), False)
        while (piece := result.read(1 << 20)) != b"":
            if piece:
                pieces.append(piece)
            elif time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
                raise Violation(f"{what} did not end within {LIMIT_SECONDS} s: an operation hangs")
            else:
                time.sleep(0.002)
    if reap(pid, what) != 0:
        raise Violation(f"{what} failed, see above")
    return pickle.loads(b"".join(pieces))


class Worker:
    """A process with a folder of its own on the mount, its log and the state its answered operations make."""

    def __init__(self, number: int, mount: pathlib.Path, work: pathlib.Path):
        self.root, self.log = mount / f"w{number}", work / f"workload-{number}.log"
        self.model, self.pending, self.pid = Model(), None, 0
        self.counts = collections.Counter()

    def start(self, seed: str) -> None:
        log = Log(self.log)
        self.pid = fork(lambda: Workload(str(self.root), self.model, log, seed).run())
        os.close(log.fd)

    def collect(self) -> None:
        """After the process has ended: its answered operations into the model, the unanswered one aside."""
        status = reap(self.pid, "a workload after its filesystem was killed")
        # A mapping of a dead filesystem ends its process with SIGBUS; SIGKILL was ours, in rounds without a kill.
        if status and os.WTERMSIG(status) not in (signal.SIGBUS, signal.SIGKILL):
            raise Violation(f"{self.root.name}: the workload ended with status {status:#x}, its words are above")
        self.pending, answered, started = None, 0, False
        for line in self.log.read_text().splitlines():
            record = json.loads(line)
            if "op" in record:
                self.pending, answered, started = record, 0, False
            elif "done" in record:
                self.model.apply(self.pending)
                self.counts[self.pending["op"]] += 1
                self.pending = None
            elif "answered" in record:
                answered = record["answered"]
            elif "started" in record:
                started = True
            elif "error" in record and record["error"] not in DEAD and not self.is_dying_map(record):
                raise Violation(f"{self.root.name}: {record['text']}, during {self.pending}")
        self.progress = (answered, started)

    def is_dying_map(self, record: dict) -> bool:
        """mmap(2) and msync(2), which name no file, answer EINVAL while the connection is torn down (seen once)."""
        return record["error"] == 22 and self.pending["op"] == "map" and not record["text"].endswith("'")

    def settle(self) -> Model:
        """The state that the folder has, if it is an allowed one. Runs in a child: it reads the mount."""
        allowed = [self.model]
        if self.pending:
            allowed = outcomes(self.model, self.pending, *self.progress, self.read)
        found = []
        for model in allowed:
            found = differences(model, str(self.root))
            if not found:
                return model
        raise Violation(f"{self.root.name}: in flight: {self.pending} {self.progress}; none of {len(allowed)} allowed "
                        f"states; nearest: " + "; ".join(differences(allowed[0], str(self.root))[:5]))

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None


class Straggler:
    """A process that keeps writing through the dead mount's descriptor, in every round that asks for one."""

    def __init__(self, mount: pathlib.Path, log: pathlib.Path, number: int):
        self.name, self.seed, self.log = f"straggler-{number}", number, log
        reading, self.stop = os.pipe()
        self.running = True
        out = Log(log)

        def work() -> None:
            os.close(self.stop)
            straggle(str(mount / "stragglers" / self.name), number, out, reading)

        self.pid = fork(work)
        os.close(reading)
        os.close(out.fd)

    def finish(self) -> None:
        if self.running:
            self.running = False
            os.close(self.stop)
            reap(self.pid, "a straggler")

    def check(self, root: pathlib.Path) -> int:
        """How many bytes of it are there; at least the answered ones, at most one block more, all of them right."""
        records = [json.loads(line) for line in self.log.read_text().splitlines()]
        answered = max((record["answered"] for record in records if "answered" in record), default=0)
        started = any("started" in record for record in records)
        try:
            got = (root / self.name).read_bytes()
        except FileNotFoundError:
            if started:
                raise Violation(f"{self.name}: its creation was answered, it is lost") from None
            return 0
        if got != content(self.seed, len(got)) or len(got) < answered:
            raise Violation(f"{self.name}: {answered} bytes were answered, {len(got)} are there, or they are others: "
                            "it was sealed while it could still be written")
        return len(got)


class Run:
    def __init__(self, args):
        self.args, self.rng = args, random.Random(args.seed)
        self.log = args.work / "daemon.log"
        self.mount = Mount(args.target, args.binary, args.work / "store", args.work / "mnt")
        self.workers = [Worker(number, self.mount.folder, args.work) for number in range(WORKERS)]
        self.straggler, self.old_straggler = None, None
        self.ends, self.mount_seconds = collections.Counter(), []

    def options(self) -> str:
        """Half of the rounds seal nearly at once and keep nothing hot."""
        options = [f"passthrough={self.rng.choice(('on', 'off'))}", "allow_other"]
        options.append(f"settle={self.rng.choice(('50ms', '200ms', '1s'))}")
        if self.rng.random() < 0.5:
            options.append("hot_cache=0")
        return ",".join(options)

    def begin(self, options: str) -> None:
        """A usable mount; one time in eight the daemon is killed while it recovers, first."""
        if self.rng.random() < 0.125:
            self.mount.start(options, self.log)
            time.sleep(self.rng.random() * 0.2)
            self.mount.kill()
            self.ends["killed while starting"] += 1
        before = time.monotonic()
        if self.rng.random() < 0.25:
            self.mount.mount(options, self.log)
        else:
            self.mount.start(options, self.log)
            self.mount.ready()
        self.mount_seconds.append(time.monotonic() - before)

    def check(self) -> None:
        """Compares and, where more than one state was allowed, adopts the one that is there."""
        for worker in self.workers:
            worker.model = in_child(worker.settle, "reading back")
            worker.pending = None
        self.check_stragglers()

    def check_stragglers(self) -> None:
        stragglers = self.mount.folder / "stragglers"
        if self.straggler:
            self.straggler.finish()
            in_child(lambda: self.straggler.check(stragglers), "reading a straggler's file")
            self.straggler, self.old_straggler = None, self.straggler
        elif self.old_straggler:
            # Once more a round later, when it may have been sealed; then it makes room.
            in_child(lambda: self.old_straggler.check(stragglers), "reading a straggler's file")
            (stragglers / self.old_straggler.name).unlink(missing_ok=True)
            self.old_straggler = None

    def end(self) -> None:
        """Mostly a kill under work; sometimes an orderly end, so that a closed store is reopened too."""
        kind = self.rng.choices(("killed", "unmounted", "unmounted with --wait"), (16, 1, 1))[0]
        if kind == "killed":
            time.sleep(0.03 + self.rng.random() * 0.5)
            self.mount.kill()
        for worker in self.workers:
            if kind != "killed":
                time.sleep(0.2)
                os.kill(worker.pid, signal.SIGKILL)
            worker.collect()
        if kind != "killed":
            if self.straggler:
                self.straggler.finish()
            self.mount.unmount(wait=kind.endswith("--wait"))
        self.ends[kind] += 1

    def round(self, number: int) -> None:
        options = self.options()
        self.begin(options)
        if number == 1:
            for folder in (*(worker.root for worker in self.workers), self.mount.folder / "stragglers"):
                folder.mkdir()
        self.check()
        if self.rng.random() < 0.3 and not self.old_straggler:
            self.straggler = Straggler(self.mount.folder, self.args.work / "straggler.log", number)
        for index, worker in enumerate(self.workers):
            worker.start(f"{self.args.seed}/{number}/{index}")
        self.end()

    def finish(self) -> None:
        """What the last round left, then once more from sealed content only."""
        self.begin("hot_cache=0,settle=50ms,allow_other")
        self.check()
        self.mount.unmount(wait=True)
        self.begin("hot_cache=0,allow_other")
        self.check()
        self.mount.unmount()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    for name, kind in (("--target", str), ("--binary", str), ("--rounds", int), ("--seed", int)):
        parser.add_argument(name, type=kind, required=True)
    run = Run(parser.parse_args())
    started, number = time.monotonic(), 0
    try:
        for number in range(1, run.args.rounds + 1):
            run.round(number)
            if number % 20 == 0:
                print(f"round {number} of {run.args.rounds}, {time.monotonic() - started:.0f} s", flush=True)
        number += 1
        run.finish()
    except (Violation, MountError, OSError) as error:
        print(f"VIOLATION in round {number}, seed {run.args.seed}: {type(error).__name__}: {error}", flush=True)
        run.mount.clear()
        return 1
    operations = sum((worker.counts for worker in run.workers), collections.Counter())
    print(f"{run.args.rounds} rounds in {time.monotonic() - started:.0f} s: " +
          ", ".join(f"{count} {kind}" for kind, count in run.ends.items()))
    print(f"{operations.total()} answered operations, none lost: {dict(operations)}")
    print(f"mount after a kill: at most {max(run.mount_seconds):.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

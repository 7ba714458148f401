"""Kills the daemon while checkpoints are saved over each other, and looks for every one of them in the history.

A round: mount, save as fast as it goes (in place, by rename, one file a step with the one before removed), kill the
daemon, mount again. What must hold: a checkpoint that was closed, and that an answered operation has destroyed since, is
in a version; one that nobody has destroyed is in the live tree or in a version; a version that was there is there, and
holds the bytes that it held, unless its removal was asked for; `ckptfs check --read-data` finds nothing. Every checkpoint
has its number in it, and a checksum over all of it. Most of its bytes are floats near those of the others, so versions
are encoded against each other; some rounds rest before the kill, so that it comes in the middle of that. Beside the saves
versions are removed and space is reclaimed.
"""

import argparse
import array
import hashlib
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import time

from mounts import LIMIT_SECONDS, Mount, MountError

SIZES = (200, 5_000, 300_000)
RUN = "run"
# Floats that every checkpoint is near to; a training moves their lowest bits.
BASE = [random.Random(0).gauss(0, 0.02) for _ in range(max(SIZES) // 4)]


class Violation(Exception):
    """The history broke a promise."""


def checkpoint(number: int, size: int) -> bytes:
    """A valid .npy file: its number, noise, and a checksum of both."""
    moved = array.array("f", (value * (1 + number * 1e-6) for value in BASE[: size // 4]))
    body = struct.pack("<Q", number) + moved.tobytes()
    body += hashlib.sha256(body).digest()
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }" % (len(body) // 4)
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def number_of(data: bytes, where: str) -> int:
    """The checkpoint's number; a checkpoint that is not whole is a violation."""
    body = data[128:]
    if len(body) < 40 or hashlib.sha256(body[:-32]).digest() != body[-32:]:
        raise Violation(f"{where}: {len(data)} bytes that are no whole checkpoint")
    return struct.unpack("<Q", body[:8])[0]


class Saver:
    """Saves until the daemon is gone; knows of each checkpoint how far it came."""

    def __init__(self, run: pathlib.Path, first: int, how: str):
        self.run, self.next, self.how = run, first, how
        self.closed: set[int] = set()
        self.destroyed: set[int] = set()
        self.current: int | None = None

    def write(self, name: str, number: int) -> None:
        fd = os.open(self.run / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            if self.how == "in place" and self.current is not None:
                # The open that truncated it was answered.
                self.destroyed.add(self.current)
                self.current = None
            data = checkpoint(number, random.choice(SIZES))
            done = 0
            while done < len(data):
                done += os.write(fd, data[done:])
        finally:
            os.close(fd)

    def save(self) -> None:
        number, before = self.next, self.current
        self.next += 1
        if self.how == "in place":
            self.write("model.npy", number)
        elif self.how == "rename":
            self.write("model.npy.tmp", number)
            os.rename(self.run / "model.npy.tmp", self.run / "model.npy")
        else:
            self.write(f"step_{number}.npy", number)
            if before is not None:
                self.closed.add(number)
                os.unlink(self.run / f"step_{before}.npy")
        self.closed.add(number)
        if before is not None and self.how != "in place":
            self.destroyed.add(before)
        self.current = number


def versions(mount: Mount) -> dict[str, dict[str, str]]:
    """Every version of the run: its files and what they are, with the checkpoints' numbers."""
    found = {}
    history = mount.folder / RUN / ".snapshots"
    for name in sorted(os.listdir(history)):
        if name.isdigit():
            files = {}
            for path in sorted((history / name).iterdir()):
                data = path.read_bytes()
                files[path.name] = what_is_in(data, str(path), must_be_whole=is_good(mount, name))
            found[name] = files
    return found


def what_is_in(data: bytes, where: str, must_be_whole: bool) -> str:
    """The checkpoint that a version has in a file. One that was cut in the middle of the next save holds the one before
    whole; what has a temporary name is no checkpoint yet."""
    if not where.endswith(".tmp"):
        try:
            return f"checkpoint {number_of(data, where)}"
        except Violation:
            if must_be_whole:
                raise
    return hashlib.sha256(data).hexdigest()


def is_good(mount: Mount, name: str) -> bool:
    info = json.loads((mount.folder / RUN / ".snapshots" / ".info" / f"{name}.json").read_text())
    return bool(info["complete"] and info["valid"])


def live(mount: Mount) -> set[int]:
    numbers = set()
    for path in (mount.folder / RUN).iterdir():
        try:
            numbers.add(number_of(path.read_bytes(), str(path)))
        except Violation:
            pass  # The one that was being written when the daemon was killed.
    return numbers


def settle(mount: Mount) -> None:
    """Makes a version of everything: what was begun before is made first."""
    subprocess.run([mount.binary, "snapshot", str(mount.folder / RUN)], check=True, stdout=subprocess.DEVNULL,
                   timeout=LIMIT_SECONDS)


def work(saver: Saver, mount: Mount, seconds: float, rest: bool) -> None:
    """Saves in this process while another kills the daemon after some time, and a third reclaims space."""
    killer = subprocess.Popen([sys.executable, "-c", f"import time, os; time.sleep({seconds}); os.kill({mount.pid}, 9)"])
    admin = subprocess.Popen(["sh", "-c", f"sleep {random.uniform(0, seconds):.2f}; '{mount.binary}' gc '{mount.folder}'"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        saves = 0
        while True:
            saver.save()
            saves += 1
            if rest and saves >= 4:
                killer.wait(timeout=LIMIT_SECONDS)
            elif random.random() < 0.2:
                time.sleep(random.choice((0.001, 0.02, 0.3)))
    except OSError:
        pass
    if killer.wait(timeout=LIMIT_SECONDS) != 0:
        raise MountError("the daemon could not be killed")
    admin.wait(timeout=LIMIT_SECONDS)


def expire_some(mount: Mount, before: dict) -> None:
    """Removes some of the versions that are there; what was answered is not looked for any more."""
    for name in random.sample(sorted(before), min(len(before) // 8, 5)):
        done = subprocess.run([mount.binary, "expire", name, str(mount.folder / RUN)], capture_output=True, text=True,
                              timeout=LIMIT_SECONDS)
        if done.returncode != 0:
            raise Violation(f"version {name} could not be removed: {done.stderr}")
        del before[name]


def check(mount: Mount) -> None:
    """Nothing in the store may be damaged or disagree."""
    done = subprocess.run([mount.binary, "check", "--read-data", str(mount.store)], capture_output=True, text=True,
                          timeout=10 * LIMIT_SECONDS)
    if done.returncode != 0:
        raise Violation(f"check: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def one_round(mount: Mount, log: pathlib.Path, first: int, before: dict) -> tuple[Saver, dict]:
    options = f"settle={random.choice(('50ms', '1h'))},max_to_keep=0,undelete_ttl=0s,incomplete_max=100000,passthrough={random.choice(('auto', 'off'))},hot_cache={random.choice(('0', '1GiB'))}"
    mount.start(options, log)
    mount.ready()
    run = mount.folder / RUN
    run.mkdir(exist_ok=True)
    expire_some(mount, before)
    for path in run.iterdir():
        path.unlink()
    saver = Saver(run, first, random.choice(("in place", "rename", "a file a step")))
    rest = random.random() < 0.3
    work(saver, mount, random.uniform(1.5, 4.0) if rest else random.uniform(0.05, 2.0), rest)
    mount.ended()
    mount.start("settle=1h,max_to_keep=0,undelete_ttl=0s,incomplete_max=100000", log)
    mount.ready()
    settle(mount)
    now = versions(mount)
    kept = {int(what.split()[1]) for files in now.values() for what in files.values() if what.startswith("checkpoint")}
    if lost := saver.destroyed - kept:
        raise Violation(f"{saver.how}: checkpoints {sorted(lost)} were closed and destroyed, and no version has them")
    if lost := saver.closed - kept - live(mount):
        raise Violation(f"{saver.how}: checkpoints {sorted(lost)} were closed, and neither the tree nor a version has them")
    for name, files in before.items():
        if now.get(name) != files:
            raise Violation(f"version {name} was {files} and is {now.get(name)}")
    mount.unmount()
    check(mount)
    return saver, now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    random.seed(options.seed)
    mount = Mount("ckptfs", options.binary, options.work / "history-store", options.work / "history-mnt")
    log, before, first, closed = options.work / "history.log", {}, 1, 0
    try:
        for number in range(1, options.rounds + 1):
            saver, before = one_round(mount, log, first, before)
            first, closed = saver.next, closed + len(saver.closed)
            print(f"round {number} of {options.rounds}: {len(saver.closed)} saves ({saver.how}), {len(before)} versions", flush=True)
        print(f"{options.rounds} kills, {closed} checkpoints, none lost, {len(before)} versions, none changed")
    except (Violation, MountError) as error:
        sys.exit(f"violation: {error}")
    finally:
        mount.clear()


if __name__ == "__main__":
    main()

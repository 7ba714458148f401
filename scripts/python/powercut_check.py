"""Starts a disk up again after each of many power cuts, and looks at what is there by powercut_rules.py.

Runs in a mount namespace of its own, in which /proc/sys/kernel/random/boot_id is another one (see powercut.py): to the
filesystem's daemon the machine has been rebooted, which is what it does after a power cut.
"""

import argparse
import os
import pathlib
import pickle
import random
import sys
import time

import disks
from mounts import Mount, MountError
from powercut_log import WRITE, DiskLog, Images
from powercut_rules import BesideRules, Rules, VersionRules

SHOWN_MAX = 8


class Check:
    def __init__(self, args, recording: dict):
        self.args, self.work, self.recording = args, args.work, recording
        self.rules = [(folder, Rules(ops)) for folder, ops in recording["ops"].items()]
        self.versions = VersionRules(recording["ops"]["run"])
        self.beside = BesideRules(recording["ops"]["run"])
        self.at_risk, self.slowest = 0, 0.0

    def cut(self, images: Images, position: int, torn: random.Random | None) -> list[str]:
        """The problems of one cut; an error on the way is one."""
        image = self.work / "cut.img"
        self.at_risk += images.make(image, position, torn)
        try:
            with disks.loop(image) as device, \
                    disks.mounted(device, self.work / "checked", kind=self.recording["kind"]) as disk:
                if self.args.binary is None:
                    return self.look(disk / "plain", position)
                return self.reopened(disk / "store", position)
        except (OSError, MountError) as error:
            return [f"{type(error).__name__}: {error}"]

    def reopened(self, store: pathlib.Path, position: int) -> list[str]:
        mount = Mount("ckptfs", self.args.binary, store, self.work / "mnt")
        began = time.monotonic()
        try:
            mount.mount("settle=300ms", self.work / "check.log")
            self.slowest = max(self.slowest, time.monotonic() - began)
            found = self.look(mount.folder, position)
            status = mount.status()
            if status["health"] != "ok" or status["last_errors"]:
                found.append(f"status: {status['health']}, {status['last_errors']}")
            mount.unmount()
            return found + self.by_itself(store)
        finally:
            mount.clear()

    def by_itself(self, store: pathlib.Path) -> list[str]:
        """What `ckptfs check` says of the store, where the program has that command."""
        if not self.recording["has_check"]:
            return []
        try:
            disks.run(self.args.binary, "check", "--read-data", store)
        except OSError as error:
            return [str(error)]
        return []

    def look(self, root: pathlib.Path, position: int) -> list[str]:
        found = []
        for folder, rules in self.rules:
            found += rules.problems(root, folder, position)
        if self.args.binary:
            found += self.versions.problems(root / "run", position)
            found += self.beside.problems(root, position)
        return found + writes_again(root / "after.bin")


def writes_again(path: pathlib.Path) -> list[str]:
    """The filesystem is not only there to be looked at."""
    data = os.urandom(100_000)
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return [] if path.read_bytes() == data else [f"{path.name}: not what was written"]


def choose(log: DiskLog, recording: dict, count: int, rng: random.Random) -> list[int]:
    """Half of the cuts fall just when a sync was answered, half right after a write; in order."""
    answers = [op.end for ops in recording["ops"].values() for op in ops
               if op.synced and op.end and op.end >= recording["begun"]]
    anywhere = [end for (kind, *_), end in zip(log.records, log.ends) if kind == WRITE and end >= recording["begun"]]
    return sorted(rng.choice(answers if number % 2 else anywhere) for number in range(count))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--binary")
    parser.add_argument("--cuts", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()
    recording = pickle.loads((args.work / "recording").read_bytes())
    log, check, bad = DiskLog(args.work / "disk.log"), Check(args, recording), 0
    cuts = choose(log, recording, args.cuts, random.Random(args.seed))
    for how in ("prefix", "torn"):
        images, rng, began = Images(log, args.work / "empty.img", args.work / "durable.img"), random.Random(args.seed), bad
        for number, position in enumerate(cuts, 1):
            found = check.cut(images, position, rng if how == "torn" else None)
            bad += bool(found)
            for line in found[:SHOWN_MAX] if bad <= SHOWN_MAX else ():
                print(f"VIOLATION, {how} cut {number} at {position}: {line}", flush=True)
        print(f"{recording['kind']}, {how}: {len(cuts)} cuts, {bad - began} with violations", flush=True)
    print(f"{len(log.records)} records; {check.at_risk / (2 * len(cuts)):.1f} writes at risk in a cut on average; "
          f"mount after a cut: at most {check.slowest:.2f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

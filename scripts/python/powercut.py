"""Saves on a disk that notes its writes, then cuts the power at many places of those notes and looks at what is there.

First the recording: a filesystem on a loop device on the noting disk (tests/disk), a store in it, a workload on the
mount in several sessions, of which one ends with a kill of the daemon. Then powercut_check.py makes the disk again as
it was at each cut, in a mount namespace that has another boot id.

`--target plain` does the same without ckptfs, in a folder of the filesystem: what is found broken there is the script.
`--lie` leaves out every fsync of the workload, `--daemon-wrapper` runs the daemon under a program, such as one that
takes its fsyncs away: then violations must be found, and the exit status is 1 as for any.
"""

import argparse
import os
import pathlib
import pickle
import random
import subprocess
import sys
import time
import uuid

import disks
from mounts import Mount
from powercut_workload import Saver, Trainer

DISK_MIB = 400
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Recording:
    def __init__(self, args):
        self.args, self.work, self.rng = args, args.work, random.Random(args.seed)
        self.log = self.work / "disk.log"
        self.workers: list = [None, None]
        self.begun = 0

    def options(self, number: int) -> str:
        """Seals nearly at once, so that packs, catalog and versions are written all the time."""
        passthrough = "on" if number % 2 == 0 else "off"
        hot = ",hot_cache=0" if self.rng.random() < 0.5 else ""
        return f"settle=200ms,max_to_keep=4,min_free=1MiB,passthrough={passthrough}{hot}"

    def start(self, root: pathlib.Path, number: int) -> None:
        shared = {"root": root, "log": self.log, "fsync": not self.args.lie}
        seed = f"{self.args.seed}/{number}"
        saver = Saver(**shared, before=self.workers[0], seed=seed)
        trainer = Trainer(**shared, before=self.workers[1], seed=seed + "t", binary=self.args.binary)
        first = not self.workers[0]
        self.workers = [saver, trainer]
        for worker in self.workers if first else ():
            worker.begin()
        self.begun = self.begun or os.stat(self.log).st_size
        for worker in self.workers:
            worker.start()

    def work_a_while(self, root: pathlib.Path, number: int) -> None:
        """In the middle session the disk is also written to as it is on a busy machine: without being asked."""
        self.start(root, number)
        end = time.monotonic() + self.args.seconds
        while (rest := end - time.monotonic()) > 0:
            if number == 1:
                disks.run("sync", "--file-system", self.work / "disk")
            time.sleep(min(0.3, rest))
        for worker in self.workers:
            worker.finish()

    def sessions(self, disk: pathlib.Path) -> None:
        if self.args.binary is None:
            (disk / "plain").mkdir()
            self.work_a_while(disk / "plain", 0)
            return
        mount = Mount("ckptfs", self.args.binary, disk / "store", self.work / "mnt")
        try:
            for number, end in enumerate(("kill", "unmount", "unmount --wait")):
                self.mount(mount, number)
                self.work_a_while(mount.folder, number)
                if end == "kill":
                    mount.kill()
                else:
                    mount.unmount(wait=end.endswith("--wait"))
        finally:
            mount.clear()

    def mount(self, mount: Mount, number: int) -> None:
        """In the foreground, so that a wrapper can be put before it."""
        command = mount.command(self.options(number), True)
        with open(self.work / "daemon.log", "ab") as out:
            mount.process = subprocess.Popen(self.args.daemon_wrapper.split() + command, stdin=subprocess.DEVNULL,
                                             stdout=out, stderr=out)
        mount.pid = mount.process.pid
        mount.ready()

    def run(self) -> dict:
        empty, image = self.work / "empty.img", self.work / "disk.img"
        disks.make_image(empty, self.args.kind, DISK_MIB)
        disks.copy_sparse(empty, image)
        with disks.Recorder(self.args.disk, self.work / "recorder", image, self.log) as recorder, \
                disks.loop(recorder.disk) as device, \
                disks.mounted(device, self.work / "disk", kind=self.args.kind) as disk:
            self.sessions(disk)
        saver, trainer = self.workers
        has_check = bool(self.args.binary) and "\n  check " in disks.run(self.args.binary, "--help")
        return {"kind": self.args.kind, "begun": self.begun, "has_check": has_check,
                "ops": {"saves": saver.ops, "run": trainer.ops}}


# A mount of another test that had a copy here would live as long as the check.
CHECK_ALONE = f"""mount --bind "$0" {BOOT_ID}
findmnt -rno TARGET -t fuse.ckptfs | xargs -rd "\\n" umount -l
exec "$@\""""


def check(args) -> int:
    """In a namespace that another boot has; mounts left in it go with it."""
    boot = args.work / "boot_id"
    boot.write_text(f"{uuid.UUID(int=random.Random(args.seed).getrandbits(128))}\n")
    script = pathlib.Path(__file__).with_name("powercut_check.py")
    command = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-ec",
               CHECK_ALONE, boot, sys.executable, script, args.work,
               "--cuts", str(args.cuts), "--seed", str(args.seed)]
    if args.binary:
        command += ["--binary", args.binary]
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--disk", required=True)
    parser.add_argument("--binary")
    parser.add_argument("--kind", choices=sorted(disks.MKFS), default="ext4")
    parser.add_argument("--cuts", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--lie", action="store_true")
    parser.add_argument("--daemon-wrapper", default="")
    args = parser.parse_args()
    recording = Recording(args).run()
    (args.work / "recording").write_bytes(pickle.dumps(recording))
    counts = [len(ops) for ops in recording["ops"].values()]
    shown = {number for op in recording["ops"]["run"] for number in (op.seen or {})}
    print(f"{args.kind}: {counts[0]} steps of saving, {counts[1]} of a run with {len(shown)} versions", flush=True)
    return check(args)


if __name__ == "__main__":
    sys.exit(main())

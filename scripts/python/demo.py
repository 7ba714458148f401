"""The proof of run.sh: the same training in a native folder and on the mount, where it is killed in the middle of a save.

The order is: train natively, undisturbed; train on the mount, SIGKILL while a checkpoint is being written, look at what
is left, resume, finish; unmount with sealing, mount again; compare. It fails when one tensor differs from the native
run, so the figures at the end are about checkpoints that are right.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
EPOCHS = 8
# The save after this epoch is the one that is interrupted.
KILL_AFTER_EPOCH = 3
KILL_ATTEMPTS = 3
STALL_SECONDS = 180


@dataclass
class Run:
    """What a training printed: seconds it waited in each save, and the epoch it resumed from."""

    saves: dict[int, float] = field(default_factory=dict)
    resumed: int | None = None

    def hear(self, line: str) -> None:
        words = line.split()
        if words[:1] == ["saved"]:
            self.saves[int(words[1])] = float(words[3])
            print(f"  epoch {words[1]}: loss {words[2]}, saved in {1000 * float(words[3]):.0f} ms", flush=True)
        elif words[:1] == ["resumed"]:
            self.resumed = int(words[1])
            print(f"  resumed from epoch {words[1]} (loss {words[2]})", flush=True)


def start(text: Path, checkpoints: Path) -> subprocess.Popen:
    command = [sys.executable, str(HERE / "train.py"), "--text", str(text), "--checkpoints", str(checkpoints)]
    return subprocess.Popen([*command, "--epochs", str(EPOCHS)], stdout=subprocess.PIPE, text=True)


def train(text: Path, checkpoints: Path) -> Run:
    """Trains to the end."""
    run = Run()
    with start(text, checkpoints) as trainer:
        for line in trainer.stdout:
            run.hear(line)
    if trainer.returncode != 0:
        raise SystemExit(f"error: the training ended with status {trainer.returncode}")
    return run


def train_and_kill(text: Path, checkpoints: Path) -> Run:
    """Trains, and sends SIGKILL once a quarter of the next checkpoint is in its temporary file."""
    run = Run()
    with start(text, checkpoints) as trainer:
        try:
            while KILL_AFTER_EPOCH not in run.saves:
                line = trainer.stdout.readline()
                if not line:
                    raise SystemExit(f"error: the training ended with status {trainer.wait()} before it was killed")
                run.hear(line)
            whole = (checkpoints / f"epoch_{KILL_AFTER_EPOCH:02}.pt").stat().st_size
            wait_for_save(trainer, checkpoints / f"epoch_{KILL_AFTER_EPOCH + 1:02}.tmp", whole // 4)
        finally:
            trainer.kill()
    return run


def wait_for_save(trainer: subprocess.Popen, temporary: Path, enough: int) -> None:
    """Returns once `enough` bytes of the file are there, which is in the middle of its save."""
    deadline = time.monotonic() + STALL_SECONDS
    while time.monotonic() < deadline and trainer.poll() is None:
        try:
            if temporary.stat().st_size >= enough:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.0002)
    raise SystemExit(f"error: no save of {temporary.name} was seen within {STALL_SECONDS} s")


def train_with_a_kill(text: Path, checkpoints: Path) -> tuple[Run, Run]:
    """Repeats the killed run until the kill has really hit a half written file."""
    for _ in range(KILL_ATTEMPTS):
        shutil.rmtree(checkpoints, ignore_errors=True)
        first = train_and_kill(text, checkpoints)
        whole = (checkpoints / f"epoch_{KILL_AFTER_EPOCH:02}.pt").stat().st_size
        half = checkpoints / f"epoch_{KILL_AFTER_EPOCH + 1:02}.tmp"
        if half.exists() and half.stat().st_size < whole:
            size = half.stat().st_size
            print(f"  killed (SIGKILL) with {size / 1e6:.0f} of {whole / 1e6:.0f} MB of epoch {KILL_AFTER_EPOCH + 1} written")
            second = train(text, checkpoints)
            if second.resumed != KILL_AFTER_EPOCH:
                raise SystemExit(f"error: the training resumed from epoch {second.resumed}, not {KILL_AFTER_EPOCH}")
            return first, second
        print("  the save was over before the kill; once more")
    raise SystemExit(f"error: {KILL_ATTEMPTS} kills all came after the save; is the machine busy?")


def ckptfs(program: Path, *arguments: str) -> str:
    done = subprocess.run([str(program), *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"error: ckptfs {' '.join(arguments)} ended with status {done.returncode}")
    return done.stdout


def same(one, other) -> bool:
    import torch

    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def compare(native: Path, mounted: Path) -> int:
    """Every checkpoint loads from both and holds the same; returns their bytes."""
    import torch

    names = sorted(path.name for path in native.iterdir())
    if names != sorted(path.name for path in mounted.iterdir()):
        raise SystemExit(f"error: the mount holds {sorted(path.name for path in mounted.iterdir())}, not {names}")
    for name in names:
        if not same(torch.load(native / name), torch.load(mounted / name)):
            raise SystemExit(f"error: {mounted / name} differs from what the undisturbed training has saved")
    return sum((native / name).stat().st_size for name in names)


def table(native: Run, mounted: list[Run], size: int, status: dict, sealed_seconds: float) -> None:
    native_saves = list(native.saves.values())
    mount_saves = [seconds for run in mounted for seconds in run.saves.values()]
    stored, logical = status["stored_bytes"], status["logical_bytes"]
    through = "kernel passthrough" if status["passthrough"]["on"] else "ordinary FUSE (no passthrough here)"
    print(f"\n{'':34}{'native folder':>16}{'mount':>16}")
    milliseconds = [1000 * statistics.median(saves) for saves in (native_saves, mount_saves)]
    print(f"{'blocked in a save, median':34}{milliseconds[0]:>13.0f} ms{milliseconds[1]:>13.0f} ms")
    milliseconds = [1000 * max(saves) for saves in (native_saves, mount_saves)]
    print(f"{'blocked in a save, longest':34}{milliseconds[0]:>13.0f} ms{milliseconds[1]:>13.0f} ms")
    print(f"{f'bytes of {EPOCHS} checkpoints':34}{size / 1e6:>13.1f} MB{size / 1e6:>13.1f} MB")
    print(f"\nthe store holds {logical / 1e6:.1f} MB of files in {stored / 1e6:.1f} MB of packs, ", end="")
    print(f"{status['hot_bytes'] / 1e6:.1f} MB of them also hot as a cache")
    print(f"the trainer waited for none of the sealing; after its end, unmount --wait took {sealed_seconds:.1f} s")
    print(f"saves went through {through}")
    print("after the kill, the resume and the sealing every tensor is the one of the undisturbed native run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("program", "store", "mountpoint", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    mounted = options.mountpoint / "demo"
    if not os.path.ismount(options.mountpoint):
        raise SystemExit(f"error: nothing is mounted at {options.mountpoint}")

    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work, prefix="native-") as folder:
        native = Path(folder) / "demo"
        text = HERE.parents[1] / "docs"
        print("training in a native folder", flush=True)
        plain = train(text, native)
        print(f"training on the mount, in {mounted}", flush=True)
        shutil.rmtree(mounted, ignore_errors=True)
        runs = train_with_a_kill(text, mounted)
        print("sealing: unmount --wait, and mount again", flush=True)
        began = time.monotonic()
        ckptfs(options.program, "unmount", str(options.mountpoint), "--wait")
        seconds = time.monotonic() - began
        ckptfs(options.program, "mount", str(options.store), str(options.mountpoint))
        size = compare(native, mounted)
        status = json.loads(ckptfs(options.program, "status", str(options.mountpoint), "--json"))
        table(plain, list(runs), size, status, seconds)


if __name__ == "__main__":
    main()

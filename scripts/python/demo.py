"""The proof of run.sh: the same training in a native folder and on the mount, where it is killed in the middle of a save.

The training knows nothing of ckptfs and saves over one file, so in a native folder that kill would cost everything. The
order is: train natively, undisturbed, with a copy of every epoch; train on the mount, SIGKILL while model.pt is being
overwritten, see that what is left does not load, resume from `.snapshots/latest`, finish; unmount with sealing, mount
again; compare every version with the copy of its epoch. It fails when one tensor differs, so the figures at the end are
about checkpoints that are right.
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
MODEL = "model.pt"
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


def start(text: Path, checkpoints: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, str(HERE / "train.py"), "--text", str(text), "--checkpoints", str(checkpoints)]
    return subprocess.Popen([*command, "--epochs", str(EPOCHS), *more], stdout=subprocess.PIPE, text=True)


def train(text: Path, checkpoints: Path, *more: str) -> Run:
    """Trains to the end."""
    run = Run()
    with start(text, checkpoints, *more) as trainer:
        for line in trainer.stdout:
            run.hear(line)
    if trainer.returncode != 0:
        raise SystemExit(f"error: the training ended with status {trainer.returncode}")
    return run


def train_and_kill(text: Path, checkpoints: Path) -> tuple[Run, int]:
    """Trains, and sends SIGKILL once a quarter of the next checkpoint is written over the one before. Returns the size of
    a whole one too."""
    run = Run()
    with start(text, checkpoints) as trainer:
        try:
            while KILL_AFTER_EPOCH not in run.saves:
                line = trainer.stdout.readline()
                if not line:
                    raise SystemExit(f"error: the training ended with status {trainer.wait()} before it was killed")
                run.hear(line)
            whole = (checkpoints / MODEL).stat().st_size
            wait_for_save(trainer, checkpoints / MODEL, whole)
        finally:
            trainer.kill()
    return run, whole


def wait_for_save(trainer: subprocess.Popen, file: Path, whole: int) -> None:
    """Returns once the file is between a quarter and all of its size, which is in the middle of its save."""
    deadline = time.monotonic() + STALL_SECONDS
    while time.monotonic() < deadline and trainer.poll() is None:
        if whole // 4 <= file.stat().st_size < whole:
            return
        time.sleep(0.0002)
    raise SystemExit(f"error: no save of {file.name} was seen within {STALL_SECONDS} s")


def train_with_a_kill(program: Path, text: Path, checkpoints: Path) -> tuple[Run, Run]:
    """Repeats the killed run until the kill has really hit a half written file; then resumes from history."""
    for _ in range(KILL_ATTEMPTS):
        begin_anew(program, checkpoints)
        first, whole = train_and_kill(text, checkpoints)
        size = (checkpoints / MODEL).stat().st_size
        if size < whole:
            print(f"  killed (SIGKILL) with {size / 1e6:.0f} of {whole / 1e6:.0f} MB of epoch {KILL_AFTER_EPOCH + 1} written")
            see_what_is_left(checkpoints)
            second = train(text, checkpoints, "--resume", str(checkpoints / ".snapshots" / "latest" / MODEL))
            if second.resumed != KILL_AFTER_EPOCH:
                raise SystemExit(f"error: the training resumed from epoch {second.resumed}, not {KILL_AFTER_EPOCH}")
            return first, second
        print("  the save was over before the kill; once more")
    raise SystemExit(f"error: {KILL_ATTEMPTS} kills all came after the save; is the machine busy?")


def begin_anew(program: Path, checkpoints: Path) -> None:
    """An empty folder without history, and one that keeps every version: all are compared at the end."""
    shutil.rmtree(checkpoints, ignore_errors=True)
    runs = json.loads(ckptfs(program, "run", "list", str(checkpoints.parent), "--json"))
    if any(run["path"] == checkpoints.name for run in runs):
        ckptfs(program, "purge", str(checkpoints), "--all", "--yes")
        ckptfs(program, "gc", str(checkpoints.parent))
    checkpoints.mkdir()
    ckptfs(program, "run", "add", str(checkpoints))
    ckptfs(program, "policy", "set", str(checkpoints), "max_to_keep=0")


def see_what_is_left(checkpoints: Path) -> None:
    """The live file is cut short, and so is the version of it, which is not `latest`."""
    versions = checkpoints / ".snapshots"
    deadline = time.monotonic() + STALL_SECONDS
    # The version of what the kill has left is made when the folder has been quiet for `settle`.
    while time.monotonic() < deadline and target(versions / "newest") == target(versions / "latest"):
        time.sleep(0.1)
    newest, latest = target(versions / "newest"), target(versions / "latest")
    if newest == latest:
        raise SystemExit(f"error: after {STALL_SECONDS} s there is no version of what the kill has left")
    for path, loads in ((checkpoints, False), (versions / "newest", False), (versions / "latest", True)):
        if can_load(path / MODEL) != loads:
            raise SystemExit(f"error: {path / MODEL} {'does not load' if loads else 'loads although it was cut short'}")
    print(f"  {MODEL} is cut short and does not load; .snapshots/newest -> {newest} is the same, and marked")
    print(f"  .snapshots/latest -> {latest} loads: resuming from it")


def target(link: Path) -> str | None:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return None


def can_load(path: Path) -> bool:
    import torch

    try:
        torch.load(path)
    except Exception:  # which one a cut file raises is torch's affair
        return False
    return True


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


def compare(copies: Path, mounted: Path, versions: list[dict]) -> None:
    """Every good version loads and holds what the native training had after its epoch, and every epoch has one."""
    import torch

    epochs = set()
    for version in versions:
        if not (version["complete"] and version["valid"]):
            continue
        epochs.add(version["epoch"])
        native = copies / f"epoch_{version['epoch']:02}.pt"
        saved = mounted / ".snapshots" / f"{version['number']:06}" / MODEL
        if not same(torch.load(native), torch.load(saved)):
            raise SystemExit(f"error: {saved} differs from what the undisturbed training has saved")
    if epochs != set(range(EPOCHS)):
        raise SystemExit(f"error: there are good versions of the epochs {sorted(epochs)}, not of all {EPOCHS}")
    if not same(torch.load(copies / f"epoch_{EPOCHS - 1:02}.pt"), torch.load(mounted / MODEL)):
        raise SystemExit(f"error: {mounted / MODEL} is not the checkpoint of the last epoch")


def table(native: Run, mounted: list[Run], versions: list[dict], status: dict, sealed_seconds: float) -> None:
    native_saves = list(native.saves.values())
    mount_saves = [seconds for run in mounted for seconds in run.saves.values()]
    copies = sum(version["logical_bytes"] for version in versions)
    stored = sum(version["new_bytes"] for version in versions)
    through = "kernel passthrough" if status["passthrough"]["on"] else "ordinary FUSE (no passthrough here)"
    print(f"\n{'':34}{'native folder':>16}{'mount':>16}")
    milliseconds = [1000 * statistics.median(saves) for saves in (native_saves, mount_saves)]
    print(f"{'blocked in a save, median':34}{milliseconds[0]:>13.0f} ms{milliseconds[1]:>13.0f} ms")
    milliseconds = [1000 * max(saves) for saves in (native_saves, mount_saves)]
    print(f"{'blocked in a save, longest':34}{milliseconds[0]:>13.0f} ms{milliseconds[1]:>13.0f} ms")
    print(f"{'checkpoints that are left':34}{1:>16}{len(versions):>16}")
    print(f"\n{len(versions)} copies would take {copies / 1e6:.1f} MB; the versions take {stored / 1e6:.1f} MB of packs")
    print(f"the trainer waited for none of that; after its end, unmount --wait took {sealed_seconds:.1f} s")
    print(f"saves went through {through}")
    print("after the kill, the resume and the sealing every tensor of every epoch is the one of the undisturbed native run")


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
        native, copies = Path(folder) / "demo", Path(folder) / "copies"
        copies.mkdir()
        # A copy: somebody may be editing the originals, and both trainings must read the same.
        text = shutil.copytree(HERE.parents[1] / "docs", Path(folder) / "text")
        print("training in a native folder", flush=True)
        plain = train(text, native, "--copies", str(copies))
        print(f"training on the mount, in {mounted}", flush=True)
        runs = train_with_a_kill(options.program, text, mounted)
        print("sealing: unmount --wait, and mount again", flush=True)
        began = time.monotonic()
        ckptfs(options.program, "unmount", str(options.mountpoint), "--wait")
        seconds = time.monotonic() - began
        ckptfs(options.program, "mount", str(options.store), str(options.mountpoint))
        versions = json.loads(ckptfs(options.program, "log", str(mounted), "--json"))["versions"]
        compare(copies, mounted, versions)
        print(f"\nckptfs log {mounted}\n{ckptfs(options.program, 'log', str(mounted))}", end="")
        status = json.loads(ckptfs(options.program, "status", str(options.mountpoint), "--json"))
        table(plain, list(runs), versions, status, seconds)


if __name__ == "__main__":
    main()

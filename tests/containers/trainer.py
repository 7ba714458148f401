"""A trainer that knows nothing of ckptfs: `trainer.py WRITER ACT FOLDER [NUMBER]`, run in a container of its own.

It saves over one file again and again. WRITER is "torch" or "plain" (no package at all). Acts:

  train    saves NUMBER steps, each once the history shows the one before; goes on where a file is already
  torn     begins to save over the file, says so in the middle, and waits there to be killed
  resume   prints the step that the history's newest valid version holds, whose every value must be right
  hold     writes half of a file, waits for FOLDER/go, writes the rest through the same open file, prints how that went
"""

import array
import os
import pickle
import sys
import time
from pathlib import Path

VALUES = 100_000
WAIT_SECONDS = 30


def weights(step: int) -> array.array:
    """What a model holds after `step` steps."""
    return array.array("f", (float((step * 31 + place) % 1009) for place in range(VALUES)))


class Plain:
    """Saves by pickle."""

    def save(self, path: Path, step: int) -> None:
        """Writes one checkpoint."""
        with open(path, "wb") as file:
            pickle.dump({"step": step, "weights": weights(step)}, file)

    def load(self, path: Path) -> int:
        """The step of a checkpoint, whose weights must be those of the step."""
        with open(path, "rb") as file:
            state = pickle.load(file)
        assert state["weights"] == weights(state["step"]), f"{path}: the weights are not those of step {state['step']}"
        return state["step"]


class Torch:
    """Saves with torch.save."""

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def save(self, path: Path, step: int) -> None:
        """Writes one checkpoint."""
        self.torch.save({"step": step, "weights": self.torch.tensor(weights(step))}, path)

    def load(self, path: Path) -> int:
        """The step of a checkpoint, whose weights must be those of the step."""
        state = self.torch.load(path)
        wanted = self.torch.tensor(weights(state["step"]))
        assert self.torch.equal(state["weights"], wanted), f"{path}: the weights are not those of step {state['step']}"
        return state["step"]


def latest(writer: Plain | Torch, folder: Path) -> int:
    """The step of the newest valid version; 0 while there is none."""
    path = folder / ".snapshots" / "latest" / "model.pt"
    return writer.load(path) if path.exists() else 0


def train(writer: Plain | Torch, folder: Path, steps: int) -> None:
    """Saves so many more steps."""
    path, staged = folder / "model.pt", folder / "model.pt.tmp"
    done = writer.load(path) if path.exists() else 0
    for step in range(done + 1, done + steps + 1):
        writer.save(staged, step)
        os.replace(staged, path)
        deadline = time.monotonic() + WAIT_SECONDS
        while latest(writer, folder) != step:
            assert time.monotonic() < deadline, f"step {step} is no version after {WAIT_SECONDS} s"
            time.sleep(0.05)
        print("saved", step, flush=True)


def torn(folder: Path) -> None:
    """Stands in the middle of a save."""
    path = folder / "model.pt"
    whole = path.read_bytes()
    with open(path, "wb") as file:
        file.write(whole[: len(whole) // 2])
        file.flush()
        print("torn", flush=True)
        time.sleep(3600)


def hold(folder: Path) -> None:
    """Writes through a file that stays open."""
    file = os.open(folder / "held", os.O_WRONLY | os.O_CREAT)
    os.write(file, b"a" * 1_000_000)
    print("held", flush=True)
    while True:
        try:
            # A listing is asked of the daemon; that a name is not there, the kernel may know by itself.
            if "go" in os.listdir(folder):
                break
        except OSError as error:
            print("waiting:", error, flush=True)
        time.sleep(0.2)
    try:
        print("wrote", os.write(file, b"b" * 1_000_000), flush=True)
    except OSError as error:
        print("failed:", error, flush=True)


def main() -> None:
    """Does one act."""
    name, act, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    writer = Torch() if name == "torch" else Plain()
    if act == "train":
        train(writer, folder, int(sys.argv[4]))
    elif act == "torn":
        torn(folder)
    elif act == "resume":
        print("resumed", latest(writer, folder), flush=True)
    elif act == "hold":
        hold(folder)
    else:
        raise SystemExit(f"unknown act '{act}'")


main()

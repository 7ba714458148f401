"""The calls that save a checkpoint: torch.save, safetensors.torch.save_file, tf.train.CheckpointManager.save.

A state is fp32 tensors of 16 MiB, normally distributed as weights are. Each save has other numbers in every 4 KiB, so
that no chunk of it is known already. Making and changing them is never on the clock.
"""

import os
import time
from pathlib import Path

import torch

TENSOR_BYTES = 16 << 20
ROW = 1024  # floats of 4 KiB


def tensors(size: int) -> dict[str, torch.Tensor]:
    """About `size` bytes of weights."""
    length = min(TENSOR_BYTES, size) // 4 // ROW * ROW
    count = max(1, round(size / (length * 4)))
    made = torch.Generator().manual_seed(count)
    return {f"layers.{n:03}.weight": torch.randn(length // ROW, ROW, generator=made).mul_(0.02) for n in range(count)}


class Writer:
    """What saves one state again and again, always under one name."""

    name = ""

    def __init__(self, size: int):
        self.state = tensors(size)
        self.size = sum(tensor.nbytes for tensor in self.state.values())

    def change(self) -> None:
        for tensor in self.state.values():
            tensor[:, 0] = torch.randn(tensor.shape[0]) * 0.02

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    def files(self, folder: Path) -> list[Path]:
        """What the last save has left."""
        raise NotImplementedError

    def remove(self, folder: Path) -> None:
        for path in self.files(folder):
            path.unlink()

    def timed(self, folder: Path) -> float:
        begin = time.perf_counter()
        self.save(folder)
        return time.perf_counter() - begin

    def synced(self, folder: Path) -> float:
        begin = time.perf_counter()
        for path in self.files(folder):
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        return time.perf_counter() - begin


class Torch(Writer):
    name = "torch.save"

    def save(self, folder: Path) -> None:
        torch.save(self.state, folder / "save.pt")

    def files(self, folder: Path) -> list[Path]:
        return list(folder.glob("save.pt"))


class Safetensors(Writer):
    name = "safetensors.save_file"

    def __init__(self, size: int):
        from safetensors.torch import save_file

        super().__init__(size)
        self.save_file = save_file

    def save(self, folder: Path) -> None:
        self.save_file(self.state, folder / "save.safetensors")

    def files(self, folder: Path) -> list[Path]:
        return list(folder.glob("save.safetensors"))


class TensorFlow(Writer):
    """One manager a folder, as a training has it; nothing is deleted by it."""

    name = "tf CheckpointManager.save"

    def __init__(self, size: int):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
        import tensorflow

        super().__init__(size)
        self.tf, self.managers, self.versions = tensorflow, {}, {}
        self.variables = []
        for name in list(self.state):
            self.variables.append(tensorflow.Variable(self.state.pop(name).numpy()))

    def change(self) -> None:
        for variable in self.variables:
            variable[:, 0].assign(self.tf.random.normal([variable.shape[0]]) * 0.02)

    def save(self, folder: Path) -> None:
        self.managers[folder].save()

    def timed(self, folder: Path) -> float:
        if folder not in self.managers:
            checkpoint = self.tf.train.Checkpoint(layers=self.variables)
            self.managers[folder] = self.tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=None)
        return super().timed(folder)

    def files(self, folder: Path) -> list[Path]:
        return list(folder.glob("ckpt-*"))


WRITERS: tuple[type[Writer], ...] = (Torch, Safetensors, TensorFlow)

"""A finished series on disk: its saves, and where in their files the tensors are.

A series is a folder with files and `series.json`, which is written last: without it the series is not finished.

    {"about": "...", "saves": [{"files": [{"as": "model.pt", "parts": ["00/model.pt"]}],
                                "tensors": [{"part": "00/model.pt", "name": "...", "kind": "fp32 w",
                                             "offset": 64, "bytes": 1000, "width": 4}]}]}

`as` is the name under which a training script writes the file (one name in every save: it is overwritten); its bytes are
its parts', one after the other. Offsets and lengths are in bytes. Tensors below 64 KiB are not listed.
"""

import json
import mmap
import shutil
from pathlib import Path

import torch

LEAST_BYTES = 64 << 10


def raw_bytes(tensor: torch.Tensor) -> bytes:
    """A tensor as it lies in memory."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def kind_of(tensor: torch.Tensor, role: str) -> str:
    """The row of the benchmark's tables that a tensor belongs to."""
    return f"{ {torch.float32: 'fp32', torch.bfloat16: 'bf16'}[tensor.dtype]} {role}"


def with_roles(model: dict, optimizer: dict | None = None) -> dict:
    """Name to (role, tensor) of a state of torch: `w` weights, `m` and `v` the means that Adam keeps."""
    named = {name: ("w", tensor) for name, tensor in model.items()}
    for key, moments in ((optimizer or {}).get("state") or {}).items():
        for field, role in (("exp_avg", "m"), ("exp_avg_sq", "v")):
            named[f"{role}.{key}"] = (role, moments[field])
    return named


class Series:
    """A series that is being made in `folder`. Each save: `folder_of_next()`, write files into it, `add()`."""

    def __init__(self, folder: Path, about: str):
        self.folder, self.about, self.saves = folder, about, []
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def folder_of_next(self) -> Path:
        """Where the files of the next save go."""
        path = self.folder / f"{len(self.saves):02}"
        path.mkdir()
        return path

    def add(self, files: dict[str, list[Path]], tensors: dict[str, tuple[str, torch.Tensor]]) -> None:
        """A save: name in the mount to parts, and name to (role, tensor) of what they hold."""
        listed = [{"as": name, "parts": [self.name(part) for part in parts]} for name, parts in files.items()]
        parts = sorted({part for parts in files.values() for part in parts})
        self.saves.append({"files": listed, "tensors": self.located(parts, tensors)})

    def name(self, part: Path) -> str:
        return str(part.relative_to(self.folder))

    def located(self, parts: list[Path], tensors: dict) -> list[dict]:
        """Where each tensor is: found by its bytes, so that no format needs to be known."""
        large = {name: pair for name, pair in tensors.items() if pair[1].nbytes >= LEAST_BYTES}
        found = {}
        for part in parts:
            with open(part, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                at = 0
                for name, (role, tensor) in large.items():
                    raw = raw_bytes(tensor)
                    # Most writers keep the order, so the next one is near.
                    offset = mapped.find(raw, at)
                    offset = offset if offset >= 0 else mapped.find(raw)
                    if offset >= 0 and name not in found:
                        at = offset + len(raw)
                        found[name] = {"part": self.name(part), "name": name, "kind": kind_of(tensor, role),
                                       "offset": offset, "bytes": len(raw), "width": tensor.element_size()}
        missing = set(large) - set(found)
        if missing:
            raise SystemExit(f"{self.folder}: not found in what was saved: {', '.join(sorted(missing))}")
        return list(found.values())

    def finish(self) -> None:
        """Now it is there."""
        text = json.dumps({"about": self.about, "saves": self.saves})
        (self.folder / "series.json.tmp").write_text(text)
        (self.folder / "series.json.tmp").rename(self.folder / "series.json")


def load(folder: Path) -> dict:
    """The list of a finished series."""
    return json.loads((folder / "series.json").read_text())


def is_finished(folder: Path) -> bool:
    """Whether the series in `folder` was made to its end."""
    return (folder / "series.json").exists()

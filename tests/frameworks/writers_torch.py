"""PyTorch and safetensors: the ways in which training scripts call torch.save, and the files of save_file."""

import io
import os
import shutil
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from witness import digest
from writers import Digests, Writer

KEEP = 2


def state(generation: int) -> dict:
    """What a script saves: model, optimizer after a real step, random state, counters. About 4 MB."""
    torch.manual_seed(1000 + generation)
    model = torch.nn.Sequential(torch.nn.Linear(512, 600), torch.nn.GELU(), torch.nn.Linear(600, 64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.randn(8, 512)).square().mean().backward()
    optimizer.step()
    half = {name: tensor.detach().bfloat16() for name, tensor in model.state_dict().items()}
    return {
        "model": model.state_dict(),
        "half": half,
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "step": 100 + generation,
    }


def digests(value, name: str = "") -> Digests:
    """Name to digest for every leaf of a nested state."""
    if isinstance(value, torch.Tensor):
        raw = value.detach().contiguous()
        kind = str(raw.dtype)
        bytes_of = raw.reshape(-1).view(torch.uint8) if raw.numel() else raw
        return {name: f"{kind}{list(raw.shape)}:{digest(bytes_of.numpy())}"}
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    else:
        return {name: repr(value)}
    found: Digests = {}
    for key, part in pairs:
        found |= digests(part, f"{name}/{key}")
    return found


def in_place(folder: Path, generation: int) -> Digests:
    saved = state(generation)
    torch.save(saved, folder / "last.pt")
    return digests(saved)


def legacy(folder: Path, generation: int) -> Digests:
    saved = state(generation)
    torch.save(saved, folder / "last.pt", _use_new_zipfile_serialization=False)
    return digests(saved)


def replace(folder: Path, generation: int) -> Digests:
    saved = state(generation)
    torch.save(saved, folder / "last.pt.tmp")
    os.replace(folder / "last.pt.tmp", folder / "last.pt")
    return digests(saved)


def replace_fsync(folder: Path, generation: int) -> Digests:
    saved = state(generation)
    with open(folder / "last.pt.tmp", "wb") as file:
        torch.save(saved, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(folder / "last.pt.tmp", folder / "last.pt")
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    return digests(saved)


def one_write(folder: Path, generation: int) -> Digests:
    saved = state(generation)
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    (folder / "last.pt").write_bytes(buffer.getbuffer())
    return digests(saved)


def copy_best(folder: Path, generation: int) -> Digests:
    """Saves in place, copies the best by sendfile, and keeps a hard link that shares the inode with the next save."""
    saved = in_place(folder, generation)
    shutil.copy2(folder / "last.pt", folder / "best.pt")
    (folder / "linked.pt").unlink(missing_ok=True)
    os.link(folder / "last.pt", folder / "linked.pt")
    return {f"{name}{key}": value for name in ("best", "last", "linked") for key, value in saved.items()}


def load_copies(folder: Path) -> Digests:
    found: Digests = {}
    for name in ("best", "last", "linked"):
        found |= {f"{name}{key}": value for key, value in load(folder, f"{name}.pt").items()}
    return found


def epochs(folder: Path, generation: int) -> Digests:
    """One file an epoch, `latest.pt` as a symlink, a text pointer, and the oldest deleted."""
    saved: Digests = {}
    for epoch in range(3 * generation, 3 * generation + 3):
        name = f"epoch_{epoch:04}.pt"
        value = state(epoch)
        torch.save(value, folder / name)
        (folder / "latest.pt").unlink(missing_ok=True)
        (folder / "latest.pt").symlink_to(name)
        (folder / "latest").write_text(name)
        for old in sorted(folder.glob("epoch_*.pt"))[:-KEEP]:
            old.unlink()
        saved |= {f"{name}{key}": part for key, part in digests(value).items()}
    kept = tuple(path.name for path in sorted(folder.glob("epoch_*.pt")))
    assert len(kept) == KEEP, f"{kept} are there after a deletion down to {KEEP}"
    return {key: value for key, value in saved.items() if key.startswith(kept)}


def load_epochs(folder: Path) -> Digests:
    found: Digests = {}
    for path in sorted(folder.glob("epoch_*.pt")):
        found |= {f"{path.name}{key}": value for key, value in load(folder, path.name).items()}
    newest = (folder / "latest").read_text()
    assert load(folder, "latest.pt") == {key[len(newest) :]: found[key] for key in found if key.startswith(newest)}
    return found


def shared_file(folder: Path, generation: int) -> Digests:
    """torch.from_file(shared=True): stores through a shared mapping, no write(2) at all."""
    values = torch.randn(1 << 19, generator=torch.Generator().manual_seed(generation))
    mapped = torch.from_file(str(folder / "shared.bin"), shared=True, size=values.numel())
    mapped.copy_(values)
    return digests({"shared": values})


def load_shared(folder: Path) -> Digests:
    mapped = torch.from_file(str(folder / "shared.bin"), shared=False, size=1 << 19)
    return digests({"shared": mapped})


def load(folder: Path, name: str = "last.pt") -> Digests:
    return digests(torch.load(folder / name))


def load_mapped(folder: Path) -> Digests:
    return digests(torch.load(folder / "last.pt", mmap=True))


def safe(folder: Path, generation: int) -> Digests:
    tensors = {**state(generation)["model"], **{f"half.{k}": v for k, v in state(generation)["half"].items()}}
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"step": str(generation)})
    return digests(tensors)


def load_safe(folder: Path) -> Digests:
    path = folder / "model.safetensors"
    with safetensors.safe_open(path, framework="pt") as file:
        lazy = {name: file.get_tensor(name) for name in file.keys()}
    whole = digests(safetensors.torch.load_file(path))
    assert digests(lazy) == whole
    return whole


WRITERS = [
    Writer("torch-in-place", in_place, load),
    Writer("torch-in-place-mmap-load", in_place, load_mapped),
    Writer("torch-legacy", legacy, load),
    Writer("torch-replace", replace, load),
    Writer("torch-replace-fsync", replace_fsync, load_mapped),
    Writer("torch-one-write", one_write, load),
    Writer("torch-copy-best", copy_best, load_copies),
    Writer("torch-epochs", epochs, load_epochs),
    Writer("torch-from-file-shared", shared_file, load_shared),
    Writer("safetensors", safe, load_safe),
]

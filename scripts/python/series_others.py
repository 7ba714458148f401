"""The series of other writers: TensorFlow, torch.distributed.checkpoint, NumPy; and one whose base is a gibibyte."""

import json
import struct
import warnings
from pathlib import Path

import numpy
import torch
import torch.distributed.checkpoint

from series_files import Series, with_roles
from series_model import BATCH, SMALL, Size, text
from series_torch import FROM, Recipe, states_of

SOME = 4
TF_SAVES, TF_STEPS = 6, 50
BASE_BYTES, ADAPTER_BYTES, ADAPTERS = 1 << 30, 5 << 20, 20
PIECE_BYTES = 64 << 20


def tf(series: Series, size: Size) -> None:
    """tf.train.Checkpoint of a dense network with Adam, 50 steps apart"""
    import tensorflow as tensorflow

    tensorflow.keras.utils.set_random_seed(0)
    tensorflow.config.experimental.enable_op_determinism()
    layers, width = tensorflow.keras.layers, 64 if size is SMALL else 1024
    hidden = [layers.Dense(width, "gelu") for _ in range(2)]
    model = tensorflow.keras.Sequential([layers.Embedding(256, 64), layers.Flatten(), *hidden, layers.Dense(256)])
    loss = tensorflow.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=False)
    checkpoint = tensorflow.train.Checkpoint(model=model, optimizer=model.optimizer)
    learnt = text("library").numpy()
    for number in range(1, TF_SAVES + 1):
        steps = TF_STEPS // 10 if size is SMALL else TF_STEPS
        starts = numpy.random.default_rng(number).integers(len(learnt) - size.context, size=steps * BATCH * 16)
        windows = numpy.stack([learnt[start : start + size.context + 1] for start in starts])
        model.fit(windows[:, :-1], windows[:, -1], batch_size=BATCH * 16, epochs=1, shuffle=False, verbose=0)
        folder = series.folder_of_next()
        name = f"ckpt-{number}"
        checkpoint.write(str(folder / name))
        (folder / "checkpoint").write_text(f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n')
        named = {variable.path: variable for variable in model.variables + model.optimizer.variables}
        series.add({path.name: [path] for path in in_order(folder, "checkpoint")}, {
            name: (tf_role(name), torch.from_numpy(numpy.array(variable.numpy(), ndmin=1))) for name, variable in named.items()
            if variable.dtype == "float32"
        })


def in_order(folder: Path, last: str) -> list[Path]:
    """The files of a save in the order in which they are written: the one that completes it is `last`."""
    return sorted(folder.iterdir(), key=lambda path: (path.name == last, path.name))


def tf_role(name: str) -> str:
    """Keras's Adam calls its means momentum and velocity."""
    return "m" if name.endswith("_momentum") else "v" if name.endswith("_velocity") else "w"


def dcp(series: Series, _size: Size) -> None:
    """torch.distributed.checkpoint of the first saves of adamw-far, one folder a step"""
    for number, state in zip(range(SOME), states_of(series, "adamw-far")):
        folder = series.folder_of_next()
        with warnings.catch_warnings():
            # That it is one process is meant.
            warnings.simplefilter("ignore")
            torch.distributed.checkpoint.save(state, checkpoint_id=folder, no_dist=True)
        files = {f"step-{number + 1}/{path.name}": [path] for path in in_order(folder, ".metadata")}
        series.add(files, with_roles(state["model"], state["optimizer"]))


def npz(series: Series, _size: Size) -> None:
    """numpy.savez of the weights of the first saves of adamw-far"""
    for number, state in zip(range(SOME), states_of(series, "adamw-far")):
        path = series.folder_of_next() / "weights.npz"
        numpy.savez(path, **{name: weight.numpy() for name, weight in state["model"].items()})
        series.add({f"weights-{number + 1}.npz": [path]}, with_roles(state["model"]))


def dreamzero(series: Series, size: Size) -> None:
    """A frozen base of 1 GiB and an adapter of 5 MiB in one file, saved 20 times; both made, not trained"""
    base_bytes = (1 << 20) if size is SMALL else BASE_BYTES
    adapter_bytes = (256 << 10) if size is SMALL else ADAPTER_BYTES
    header = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, count in (("base.weight", base_bytes), ("adapter.weight", adapter_bytes)):
        header[name] = {"dtype": "BF16", "shape": [count // 2], "data_offsets": [at, at + count]}
        at += count
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    head, base = series.folder / "head.bin", series.folder / "base.bin"
    head.write_bytes(struct.pack("<Q", len(raw)) + raw)
    chance = torch.Generator().manual_seed(0)
    with open(base, "wb") as file:
        for done in range(0, base_bytes, PIECE_BYTES):
            file.write(normal(min(PIECE_BYTES, base_bytes - done) // 2, 0.02, chance))
    adapter = torch.randn(adapter_bytes // 2, generator=chance) * 0.02
    for _ in range(ADAPTERS):
        adapter += torch.randn(adapter.numel(), generator=chance) * 2e-4
        path = series.folder_of_next() / "adapter.bin"
        path.write_bytes(adapter.to(torch.bfloat16).view(torch.uint8).numpy().tobytes())
        series.add({"policy.safetensors": [head, base, path]}, {})


def normal(count: int, deviation: float, chance: torch.Generator) -> bytes:
    """Random bf16."""
    values = torch.randn(count, generator=chance) * deviation
    return values.to(torch.bfloat16).view(torch.uint8).numpy().tobytes()


RECIPES = {
    "tf": Recipe(tf),
    "dcp": Recipe(dcp, FROM),
    "npz": Recipe(npz, FROM),
    "dreamzero": Recipe(dreamzero),
}

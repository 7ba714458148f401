"""NumPy: files written once (save, savez, tofile) and files changed in place through a shared mapping (memmap)."""

from pathlib import Path

import numpy

from witness import digest
from writers import Digests, Writer

ROWS, COLUMNS = 512, 1024


def values(generation: int) -> numpy.ndarray:
    """2 MB that look like weights."""
    return numpy.random.default_rng(generation).standard_normal((ROWS, COLUMNS), dtype=numpy.float32)


def save(folder: Path, generation: int) -> Digests:
    array = values(generation)
    numpy.save(folder / "array.npy", array)
    array.tofile(folder / "array.raw")
    return {"npy": digest(array), "raw": digest(array)}


def load(folder: Path) -> Digests:
    raw = numpy.fromfile(folder / "array.raw", dtype=numpy.float32).reshape(ROWS, COLUMNS)
    mapped = numpy.load(folder / "array.npy", mmap_mode="r")
    assert digest(numpy.asarray(mapped)) == digest(numpy.load(folder / "array.npy"))
    return {"npy": digest(numpy.asarray(mapped)), "raw": digest(raw)}


def save_zip(folder: Path, generation: int) -> Digests:
    arrays = {"weights": values(generation), "steps": numpy.arange(generation, generation + 100_000)}
    numpy.savez(folder / "plain.npz", **arrays)
    numpy.savez_compressed(folder / "packed.npz", **arrays)
    return {f"{kind}/{name}": digest(array) for kind in ("plain", "packed") for name, array in arrays.items()}


def load_zip(folder: Path) -> Digests:
    found: Digests = {}
    for kind in ("plain", "packed"):
        with numpy.load(folder / f"{kind}.npz") as archive:
            found |= {f"{kind}/{name}": digest(archive[name]) for name in archive.files}
    return found


def save_mapped(folder: Path, generation: int) -> Digests:
    """Makes the file through a mapping, then changes every third row in place through a second one."""
    path = folder / "mapped.bin"
    expected = values(generation)
    if not path.exists():
        made = numpy.memmap(path, dtype=numpy.float32, mode="w+", shape=(ROWS, COLUMNS))
        made[:] = expected
        made.flush()
        del made
    else:
        expected = numpy.fromfile(path, dtype=numpy.float32).reshape(ROWS, COLUMNS)
    changed = numpy.memmap(path, dtype=numpy.float32, mode="r+", shape=(ROWS, COLUMNS))
    rows = values(1000 + generation)[::3]
    changed[::3] = rows
    expected[::3] = rows
    # A reader through read(2) sees what another has stored through its mapping.
    assert digest(numpy.fromfile(path, dtype=numpy.float32).reshape(ROWS, COLUMNS)) == digest(expected)
    return {"mapped": digest(expected)}


def load_mapped(folder: Path) -> Digests:
    mapped = numpy.memmap(folder / "mapped.bin", dtype=numpy.float32, mode="r", shape=(ROWS, COLUMNS))
    return {"mapped": digest(numpy.asarray(mapped))}


WRITERS = [
    Writer("numpy-save", save, load),
    Writer("numpy-savez", save_zip, load_zip),
    Writer("numpy-memmap", save_mapped, load_mapped),
]

"""Small series of real saves (scripts/python/series.py), and the ways in which scripts write them into a mount."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/python"))

import series
import series_files

# Hashes of the files that a save has written, by their paths below the run.
Save = dict[str, bytes]


def make(out: Path, name: str) -> list[Save]:
    """The saves of a small series, oldest first: path below the run to bytes."""
    series.make(out, [name], small=True)
    folder = out / name
    return [
        {file["as"]: b"".join((folder / part).read_bytes() for part in file["parts"]) for file in save["files"]}
        for save in series_files.load(folder)["saves"]
    ]


def in_place(run: Path, name: str, number: int, data: bytes) -> str:
    """Over the last save, as torch.save does; returns the path below the run."""
    return write(run / name, data, name)


def a_file_a_step(run: Path, name: str, number: int, data: bytes) -> str:
    """Each save has a name of its own."""
    path = Path(name)
    own = name if any(character.isdigit() for character in name) else str(path.with_stem(f"{path.stem}-{100 * number}"))
    return write(run / own, data, own)


def renamed(run: Path, name: str, number: int, data: bytes) -> str:
    """Under a temporary name, synced, then renamed over the last save."""
    path = run / name
    write(path.with_name(path.name + ".tmp"), data, name, sync=True)
    os.replace(path.with_name(path.name + ".tmp"), path)
    return name


def write(path: Path, data: bytes, name: str, sync: bool = False) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
        if sync:
            os.fsync(file.fileno())
    return name


"""What a store takes on the disk, part by part."""

import os
from pathlib import Path

# What holds nothing that was saved: copies that a mount keeps for speed, and space kept for later.
APART = ("hot", "ballast", "spare journal")


def data_bytes(path: Path) -> int:
    """Bytes of the file that were ever written: what is only preallocated is a hole."""
    total, at = 0, 0
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        while at < size:
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(fd, begin, os.SEEK_HOLE)
            total += at - begin
        return total
    finally:
        os.close(fd)


def part_of(path: Path) -> str:
    """The row that a file of a store belongs to."""
    if path.parts[0] == "journal" and path.name.startswith("spare"):
        return "spare journal"
    return path.parts[0] if len(path.parts) > 1 or path.name == "ballast" else "other files"


def disk_bytes(store: Path) -> dict[str, int]:
    """Part to bytes. Blocks as `du` counts them; of the journal, whose segments are preallocated, the written ones."""
    parts = dict.fromkeys(("packs", "index", "catalog", "journal", "other files", *APART), 0)
    for path in store.rglob("*"):
        try:
            if path.is_file():
                part = part_of(path.relative_to(store))
                size = data_bytes(path) if part == "journal" else path.stat().st_blocks * 512
                parts[part] = parts.get(part, 0) + size
        except FileNotFoundError:
            continue
    return parts


def counted(parts: dict[str, int]) -> int:
    """All that is needed to keep what was saved."""
    return sum(size for part, size in parts.items() if part not in APART)

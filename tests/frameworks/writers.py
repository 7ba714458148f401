"""What a writer is, for the tests: a way to save and the matching way to load, both giving name to digest.

`save` returns the digests of what it holds in memory, taken before anything is read back, so the comparison with what
`load` finds does not trust the filesystem twice. A second save goes over the first one, with other values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Digests = dict[str, str]


@dataclass(frozen=True)
class Writer:
    """One way in which training scripts write. `save(folder, generation)`, then `load(folder)`."""

    name: str
    save: Callable[[Path, int], Digests]
    load: Callable[[Path], Digests]

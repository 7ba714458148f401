"""Makes series of real training saves, for benchmarks and tests.

    series.py OUT [NAME...] [--small]      all but `dreamzero` (1 GiB) when no name is given

A series is made once: what OUT has finished already is left alone. With --small the models are tiny and all of it takes
seconds. Which series there are is in RECIPES; how one lies on disk is in series_files.py.
"""

import argparse
import os
import sys
import time
from pathlib import Path

# Threads that wait must not spin: other work may share the cores. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import torch
import torch._dynamo  # noqa: F401  Before TensorFlow: loaded after it, it crashes the interpreter.

import series_files
import series_others
import series_torch
from series_model import FULL, SMALL

THREADS = 2
RECIPES = {**series_torch.RECIPES, **series_others.RECIPES}
BIG = {"dreamzero"}


def make(out: Path, names: list[str] | None = None, *, small: bool = False) -> None:
    """Makes the named series in `out` that are not there yet, and those that they begin from."""
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(THREADS)
    for name in names or [name for name in RECIPES if name not in BIG]:
        make_one(out, name, SMALL if small else FULL)


def make_one(out: Path, name: str, size) -> None:
    if series_files.is_finished(out / name):
        return
    recipe = RECIPES[name]
    for other in recipe.needs:
        make_one(out, other, size)
    began = time.monotonic()
    torch.manual_seed(0)
    series = series_files.Series(out / name, recipe.make.__doc__.split("\n")[0])
    recipe.make(series, size)
    series.finish()
    print(f"  {name}: {len(series.saves)} saves in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RECIPES))
    parser.add_argument("--small", action="store_true")
    options = parser.parse_intermixed_args()
    unknown = set(options.names) - set(RECIPES)
    if unknown:
        parser.error(f"no such series: {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    make(options.out, options.names, small=options.small)


if __name__ == "__main__":
    main()

"""Trees of small files: untar, git clone and git status, removal of it all.

The tree is that of Python packages, and the repository one that is made of it: about 10,000 files, of which none is
larger than a MiB. Both are made on the native disk before the clock runs.
"""

import os
import shutil
import sysconfig
import time
from pathlib import Path

from bench_proc import drop_caches
from bench_proc import run as tool
from bench_run import Run
from bench_table import Row
from mounts import MountError

# Sources of packages that the benchmark needs in any case, and no programs.
PACKAGES = ("torch", "sympy", "numpy", "tensorflow")
SUFFIXES = {".py", ".h", ".hpp", ".pyi"}
FILES, QUICK_FILES, LARGEST_BYTES = 10_000, 500, 1 << 20


def make_tree(folder: Path, count: int) -> int:
    """Copies `count` sources; returns their bytes."""
    packages, size = Path(sysconfig.get_path("purelib")), 0
    sources = (path for name in PACKAGES for path in sorted((packages / name).rglob("*")) if path.suffix in SUFFIXES)
    for path in sources:
        if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
            continue
        to = folder / path.relative_to(packages)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
        size += path.stat().st_size
        count -= 1
        if not count:
            return size
    raise MountError(f"the packages {', '.join(PACKAGES)} below {packages} have {count} files too few")


def git(*words: str | Path, cwd: Path | None = None) -> str:
    """git without the settings of who runs this."""
    own = ("-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false", "-c", "gc.auto=0")
    return tool("git", *own, *words, cwd=cwd)


def prepare(run: Run, count: int) -> tuple[Path, Path, int]:
    """A tar file and a repository of the same tree, and the bytes in it."""
    tree, tar = run.work / "tree", run.work / "tree.tar"
    tree.mkdir()
    size = make_tree(tree, count)
    tool("tar", "-cf", tar, "-C", run.work, "tree")
    git("init", "-q", ".", cwd=tree)
    git("add", "-A", cwd=tree)
    git("commit", "-q", "-m", "tree", cwd=tree)
    return tar, tree, size


def measure(run: Run, sides: tuple[str, ...]) -> None:
    if not run.wanted("trees"):
        return
    count = QUICK_FILES if run.quick else FILES
    tar, tree, size = prepare(run, count)
    names = ("untar", "git clone --no-hardlinks", "git status, names not cached", "git status again", "rm -rf of the tree")
    rows = [Row(f"trees: {name}", "s") for name in names]

    def work(side: str) -> tuple[float, ...]:
        folder = run.folder(side) / "trees"
        folder.mkdir()
        os.sync()
        seconds = []

        def clock(*command: str | Path) -> None:
            begin = time.perf_counter()
            tool(*command)
            seconds.append(time.perf_counter() - begin)

        clock("tar", "-xf", tar, "-C", folder)
        clock("git", "clone", "-q", "--no-hardlinks", tree, folder / "clone")
        drop_caches(2)
        clock("git", "-C", folder / "clone", "status", "--short")
        clock("git", "-C", folder / "clone", "status", "--short")
        clock("rm", "-rf", folder / "tree")
        shutil.rmtree(folder)
        run.wait_deleted(side, 1 << 20)
        return tuple(seconds)

    run.turn(rows, sides, work)
    run.notes.append(f"trees: {count} files, {size / 1e6:.0f} MB")

"""Restores from a mount against the same call on the native folder: hot, and cold from packs.

Hot: the newest version as `.snapshots/latest` shows it, and the native file, both in the page cache. Cold: nothing is in
the page cache on either side, the mount's daemon is a new one, and it has no hot copy left (`hot_cache=0`). The bytes
that come back are compared once, in the warm-up.
"""

import os
import time
from pathlib import Path

import torch
from bench_proc import drop_caches, touch
from bench_run import GB, Run, main
from bench_table import Bar, Row
from bench_writers import Safetensors, Torch, Writer
from mounts import MountError
from safetensors import safe_open
from safetensors.torch import load_file

SEALED = "passthrough=on,settle=300ms,hot_cache=0,max_to_keep=1"
HOT = "passthrough=on,settle=300ms,hot_cache=100GiB,max_to_keep=1"
FIRST_BYTE_MS = 20.0


def load_mapped(path: Path) -> dict[str, torch.Tensor]:
    """load_file maps the file, and a page comes when it is touched: a copy touches all."""
    return {key: tensor.clone() for key, tensor in load_file(path).items()}


LOADERS = {"torch.load": (Torch, torch.load), "safetensors load_file": (Safetensors, load_mapped)}


def put(run: Run, side: str, writer: Writer, hot: bool) -> Path:
    """A saved checkpoint, on a mount sealed and in a version."""
    folder = run.folder(side) / "run"
    folder.mkdir(exist_ok=True)
    writer.save(folder)
    run.wait_version(side, folder, "")
    run.wait_idle(side, lambda status: hot or status["hot_bytes"] == 0)
    return writer.files(folder)[0]


def check(found: dict, writer: Writer) -> None:
    if found.keys() != writer.state.keys() or not all(torch.equal(found[key], writer.state[key]) for key in found):
        raise MountError("a restore gave back other tensors than were saved")


def newest_while_hot(run: Run, size: int) -> None:
    for name, (kind, load) in LOADERS.items():
        label = f"{name} {size / GB:g} GB, newest version while hot"
        if not run.wanted(label):
            continue
        run.mount("hot", HOT)
        writer, checked = kind(size), set()
        live = {side: put(run, side, writer, hot=True) for side in ("native", "hot")}
        paths = {"native": live["native"], "hot": live["hot"].parent / ".snapshots/latest" / live["hot"].name}
        paths["hot, live"] = live["hot"]

        def measure(side: str, load=load, writer=writer, checked=checked, paths=paths) -> tuple[float]:
            touch(run.work, size)
            begin = time.perf_counter()
            found = load(paths[side])
            seconds = time.perf_counter() - begin
            if side not in checked:
                check(found, writer)
                checked.add(side)
            return (size / GB / seconds,)

        run.turn([Row(label, "GB/s", [Bar("hot", 0.95, "native")])], tuple(paths), measure)
        live["native"].unlink()
        forget(run, "hot")


def forget(run: Run, side: str) -> None:
    """Its disk space is free again."""
    store = run.mounts[side].store
    run.unmount(side)
    for path in sorted(store.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    store.rmdir()


def cool(run: Run, side: str) -> None:
    """Nothing is cached; what is sealed is read by a new daemon. A hot copy is one of the daemon that took the save."""
    if side == "sealed":
        run.mounts[side].unmount()
        run.start(side, SEALED)
    drop_caches()


def cold(run: Run, size: int) -> None:
    """Whole files, and a quarter of the tensors of a mapped one: every fourth, as a rank reads its share."""
    for name, (kind, load) in LOADERS.items():
        rows = [Row(f"{name} {size / GB:g} GB, cold", "GB/s", [Bar("sealed", 1.0, "native", aim=1.15)])]
        if kind is Safetensors:
            rows.append(Row(f"a quarter of a mapped file of {size / GB:g} GB, cold", "s",
                            [Bar("sealed", 1.2, "native", at_least=False)]))
        if not any(run.wanted(row.name) for row in rows):
            continue
        run.mount("sealed", SEALED)
        writer, checked = kind(size), set()
        paths = {side: put(run, side, writer, hot=False) for side in ("native", "sealed")}

        def measure(side: str, load=load, writer=writer, checked=checked, paths=paths) -> tuple[float, ...]:
            cool(run, side)
            touch(run.work, size)
            begin = time.perf_counter()
            found = load(paths[side])
            figures = [size / GB / (time.perf_counter() - begin)]
            if side not in checked:
                check(found, writer)
                checked.add(side)
            del found
            if isinstance(writer, Safetensors):
                cool(run, side)
                touch(run.work, size)
                figures.append(quarter(paths[side]))
            return tuple(figures)

        run.turn(rows, ("native", "sealed"), measure)
        paths["native"].unlink()
        forget(run, "sealed")


def quarter(path: Path) -> float:
    begin = time.perf_counter()
    with safe_open(path, framework="pt") as file:
        for key in sorted(file.keys())[::4]:
            file.get_tensor(key).clone()
    return time.perf_counter() - begin


def first_byte(run: Run, size: int) -> None:
    """One store for both, first with its hot copy and then without: another one of this size is a lot of disk."""
    label = f"first byte of {size / GB:g} GB, cold"
    if not run.wanted(label):
        return
    run.mount("hot", HOT)
    writer = Torch(size)
    paths = {side: put(run, side, writer, hot=True) for side in ("native", "hot")}
    del writer

    def measure(side: str) -> tuple[float, float]:
        took = []
        for offset in (0, size // 2):
            cool(run, side)
            begin = time.perf_counter()
            fd = os.open(paths[side], os.O_RDONLY)
            os.pread(fd, 1, offset)
            took.append((time.perf_counter() - begin) * 1000)
            os.close(fd)
        return tuple(took)

    for side in ("hot", "sealed"):
        if side == "sealed":
            run.mounts["sealed"] = run.mounts.pop("hot")
            cool(run, side)
            run.wait_idle(side, lambda status: status["hot_bytes"] == 0)
            paths[side] = paths["hot"]
        bars = [Bar(side, FIRST_BYTE_MS, at_least=False)]
        rows = [Row(f"{label}, {side}", "ms", bars), Row(f"{label}, {side}, in the middle", "ms", bars)]
        run.turn(rows, ("native", side), measure)
    paths["native"].unlink()
    forget(run, "sealed")


def measure_all(run: Run) -> None:
    size, large = (GB // 10, GB // 5) if run.quick else (GB, 4 * GB)
    newest_while_hot(run, size)
    cold(run, size)
    first_byte(run, large)


if __name__ == "__main__":
    main("restore", measure_all)

"""What sealing costs and how far it lags, in a training that saves over one file again and again.

The mount is as people mount it. The clock of a lag runs from the end of torch.save until the save is a version and
nothing is queued; the quiet time `settle` is part of it and is told apart. Bytes written are those that the kernel counts
for the daemon and for the writer, less what was gone before it was written, and beside it those of the whole disk.
"""

import os
import time
from pathlib import Path

import torch
from bench_proc import device_of, disk_written_bytes, sealing_seconds, thread_seconds, written_bytes
from bench_run import GB, Run, main, newest_version
from bench_state import State
from bench_table import Bar, Row

SETTLE_SECONDS = 2.0
POLL_SECONDS = 0.1
OPTIONS = "passthrough=on,max_to_keep=3"


class Counters:
    """Where all that is counted stands."""

    def __init__(self, run: Run, pid: int):
        status = run.mounts["passthrough"].status()
        self.sealed = status["sealing"]["sealed_bytes"]
        self.cpu, self.threads = sealing_seconds(pid), thread_seconds(pid)
        self.daemon, self.writer = written_bytes(pid), written_bytes("self")
        device = device_of(run.work)
        self.disk = disk_written_bytes(device) if device else None


def save(run: Run, folder: Path, state: State) -> float:
    """Seconds from the end of the save until it is sealed and a version."""
    mount, before = run.mounts["passthrough"], newest_version(folder)
    torch.save(state.dict(), folder / "model.pt")
    end = time.perf_counter()
    run.wait_version("passthrough", folder, before)
    while (sealing := mount.status()["sealing"])["queued_files"] or sealing["in_progress"]:
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - end


def measure(run: Run) -> None:
    size, every, saves = (GB // 10, 5.0, 4) if run.quick else (GB // 2, 15.0, 8)
    name = f"a loop of saves of {size / GB:g} GB over one file every {every:g} s"
    mount = run.mount("passthrough", OPTIONS)
    folder = mount.folder / "run"
    folder.mkdir()
    state = State(size)
    lags = Row("from close to sealed", "s")
    alone = Row("the same without the quiet time", "s")
    # The first save is the warm-up: nothing is overwritten by it.
    save(run, folder, state)
    saved_bytes = (folder / "model.pt").stat().st_size
    run.wait_idle("passthrough")
    os.sync()
    before, begin = Counters(run, mount.pid), time.monotonic()
    for number in range(saves):
        state.train()
        time.sleep(max(0.0, begin + number * every - time.monotonic()))
        lag = save(run, folder, state)
        lags.add("passthrough", lag)
        alone.add("passthrough", lag - SETTLE_SECONDS)
    time.sleep(max(0.0, begin + saves * every - time.monotonic()))
    after = Counters(run, mount.pid)
    os.sync()
    synced = Counters(run, mount.pid)
    run.add(*rows_of(before, after, synced, saves * saved_bytes), lags, alone)
    run.notes.append(f"{name}, {saves} times after a first one; sealed {(after.sealed - before.sealed) / GB:.2f} GB")
    spent = {thread: after.threads[thread] - before.threads.get(thread, 0.0) for thread in after.threads}
    told = ", ".join(f"{thread} {seconds:.2f}" for thread, seconds in sorted(spent.items()) if seconds >= 0.01)
    run.notes.append(f"CPU seconds of the daemon's threads: {told}")


def rows_of(before: Counters, after: Counters, synced: Counters, saved: int) -> list[Row]:
    sealed, cpu = after.sealed - before.sealed, after.cpu - before.cpu
    daemon_cpu = sum(after.threads.values()) - sum(before.threads.values())
    rows = []

    def row(name: str, unit: str, figure: float, bars: list[Bar] | None = None) -> None:
        rows.append(Row(name, unit, bars or [], {"passthrough": [figure]}))

    row("sealing, for a second of CPU of its threads", "GB", sealed / GB / cpu)
    row("saved, for a second of CPU of the whole daemon", "GB", saved / GB / daemon_cpu)
    daemon, writer = after.daemon - before.daemon, after.writer - before.writer
    row("written to the disk for a byte saved", "bytes", (daemon + writer) / saved,
        [Bar("passthrough", 0.75, at_least=False)])
    row("of it by the daemon", "bytes", daemon / saved)
    row("of it by the writer", "bytes", writer / saved)
    if before.disk is not None:
        row("written for a byte saved, by the disk's own count", "bytes", (after.disk - before.disk) / saved)
        row("the same after a sync", "bytes", (synced.disk - before.disk) / saved)
    return rows


if __name__ == "__main__":
    main("sealing", measure)

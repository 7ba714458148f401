"""What a training feels of sealing and re-encoding: the times of its steps while all cores are busy.

One process trains all the time: a data loader whose workers, one a core, make batches with numpy and are always behind,
and steps of torch on one core, each over one batch of every worker, so that all steps cost the same. Blocks of steps take
turns: the same saves at the same steps, into the native folder or into the mount. `native again` is a second native
folder: its ratio is what this measurement cannot tell apart. A step that saves is not counted, nor those after it whose
batches were made meanwhile. Between blocks the mount finishes and all is written back, so that no block pays for another.
"""

import os
import statistics
import time
from collections.abc import Iterator

import numpy
import torch
from bench_run import GB, Run, main
from bench_state import State
from bench_table import Bar, Row
from torch.utils.data import DataLoader, IterableDataset

BATCH, WIDTH, PREFETCH = 32, 512, 2
# Forward and back so many times for each batch: some ten milliseconds.
FILTERS = 12
# Steps from a save on that are not counted: its own, and those whose batches were made meanwhile.
AFTER_SAVE = PREFETCH + 2
SIDES = ("native", "passthrough", "native again")


class Batches(IterableDataset):
    """Endless batches of noise that was filtered, which is all CPU time."""

    def __iter__(self) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
        worker = torch.utils.data.get_worker_info()
        made = numpy.random.default_rng(worker.id if worker else 0)
        while True:
            batch = made.standard_normal((BATCH, 8 * WIDTH))
            for _ in range(FILTERS):
                batch = numpy.fft.irfft(numpy.fft.rfft(batch) * 0.999, n=batch.shape[1])
            yield batch[:, :WIDTH].astype(numpy.float32), made.integers(10, size=BATCH)


class Training:
    """A training that goes on as long as it is asked for steps."""

    def __init__(self, size: int):
        torch.set_num_threads(1)
        self.state = State(size)
        self.model = torch.nn.Sequential(torch.nn.Linear(WIDTH, 2048), torch.nn.GELU(), torch.nn.Linear(2048, 1024),
                                         torch.nn.GELU(), torch.nn.Linear(1024, 10))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.workers = len(os.sched_getaffinity(0))
        self.batches = iter(DataLoader(Batches(), batch_size=None, num_workers=self.workers, prefetch_factor=PREFETCH))

    def step(self) -> float:
        begin = time.perf_counter()
        self.optimizer.zero_grad()
        for _ in range(self.workers):
            inputs, labels = next(self.batches)
            torch.nn.functional.cross_entropy(self.model(inputs), labels).backward()
        self.optimizer.step()
        return time.perf_counter() - begin

    def block(self, path, steps: int, saves: int) -> list[float]:
        """Milliseconds of the steps of a block, without those at a save."""
        times, every = [], steps // saves
        for number in range(steps):
            if number % every == 0:
                self.state.train()
                torch.save(self.state.dict(), path)
            milliseconds = self.step() * 1000
            if number % every >= AFTER_SAVE:
                times.append(milliseconds)
        return times


def measure(run: Run) -> None:
    size, steps, saves = (GB // 20, 100, 1) if run.quick else (GB // 4, 400, 2)
    mount = run.mount("passthrough", "passthrough=on,max_to_keep=3")
    training = Training(size)
    pooled = {side: [] for side in SIDES}
    worked = {"sealed_bytes": 0, "reencoded_bytes": 0}

    def counted() -> dict[str, int]:
        status = mount.status()
        return {"sealed_bytes": status["sealing"]["sealed_bytes"], "reencoded_bytes": status["reencoded_bytes"]}

    def measure_block(side: str) -> tuple[float, float, float]:
        folder = run.native / side.replace(" ", "-") if side != "passthrough" else mount.folder / "run"
        folder.mkdir(exist_ok=True)
        before = counted()
        times = training.block(folder / "model.pt", steps, saves)
        after = counted()
        if side == "passthrough":
            worked.update({key: worked[key] + after[key] - before[key] for key in worked})
        run.wait_idle("passthrough")
        os.sync()
        pooled[side] += times
        return statistics.median(times), statistics.fmean(times), float(numpy.percentile(times, 99))

    bar = [Bar("passthrough", 1.03, "native", at_least=False)]
    rows = [Row("median of the steps of a block", "ms", bar), Row("mean of the steps of a block", "ms"),
            Row("p99 of the steps of a block", "ms", bar)]
    run.turn(rows, SIDES, measure_block)
    last = Row("p99 of all steps", "ms", bar)
    for side, times in pooled.items():
        last.add(side, float(numpy.percentile(times[len(times) // (run.rounds + 1):], 99)))
    run.add(last)
    blocks = run.rounds + 1
    run.notes.append(f"{blocks} blocks a side of {steps} steps with {saves} saves of {size / GB:g} GB, the first a warm-up; "
                     "the ratio of 'native again' is the noise")
    run.notes.append("during the blocks on the mount, not after them: " +
                     ", ".join(f"{value / GB:.2f} GB {key.removesuffix('_bytes')}" for key, value in worked.items()))


if __name__ == "__main__":
    main("training", measure)

"""Processes that save at the same moment, each a shard of its own, with torch.save.

Each is a process of its own, started once; a line on its input makes it change its state and say so, the next one save.
What they report are times of the clock that all processes of a machine share.
"""

import subprocess
import sys
import time
from pathlib import Path

from mounts import MountError


class Savers:
    """`count` processes with a shard of `size` bytes each."""

    def __init__(self, count: int, size: int):
        command = [sys.executable, __file__, str(size)]
        self.processes = [subprocess.Popen([*command, str(rank)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                          for rank in range(count)]
        self.bytes = sum(int(line) for line in self.lines())

    def __enter__(self) -> "Savers":
        return self

    def __exit__(self, *_) -> None:
        for process in self.processes:
            process.stdin.close()
            process.wait(timeout=60)

    def lines(self) -> list[str]:
        """One line of each; a process that has died gives none."""
        found = [process.stdout.readline().strip() for process in self.processes]
        if not all(found):
            raise MountError("a process that saves shards has ended; its words are above")
        return found

    def tell(self, text: str) -> None:
        for process in self.processes:
            process.stdin.write(f"{text}\n")
            process.stdin.flush()

    def save(self, folder: Path) -> float:
        """Seconds from the first open to the last close."""
        self.tell(str(folder))
        self.lines()
        self.tell("go")
        times = [tuple(map(float, line.split())) for line in self.lines()]
        return max(end for _, end in times) - min(begin for begin, _ in times)


def work(size: int, rank: int) -> None:
    import torch
    from bench_writers import tensors

    torch.set_num_threads(1)
    state = tensors(size)
    print(sum(tensor.nbytes for tensor in state.values()), flush=True)
    for line in sys.stdin:
        for tensor in state.values():
            tensor[:, 0] = torch.randn(tensor.shape[0]) * 0.02
        print("ready", flush=True)
        sys.stdin.readline()
        begin = time.perf_counter()
        torch.save(state, Path(line.strip()) / f"shard-{rank}.pt")
        print(begin, time.perf_counter(), flush=True)


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]))

"""What a side-by-side run measures with: the writer, a reader that starts cold, CPU time, bytes on the disk.

CPU seconds are those of this process, of the tools that it waited for, of the daemons that a side names, and of all
kernel threads: these write back, and compress for btrfs. A kernel thread that ends takes its time with it, but an idle
worker stays for minutes. What other work on the machine has kernel threads do meanwhile is counted too, so it should be
quiet.
"""

import fcntl
import hashlib
import os
import resource
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mounts import MountError

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")
KTHREADD = 2
TOOL_SECONDS = 300


@dataclass(frozen=True)
class Save:
    """One file that a training saves: the training's name, the number of the save, the file's name and bytes."""

    training: str
    number: int
    name: str
    data: bytes
    sha256: str

    @classmethod
    def of(cls, training: str, number: int, name: str, data: bytes) -> "Save":
        return cls(training, number, name, data, hashlib.sha256(data).hexdigest())


def write(path: Path, data: bytes, *, sync: bool = False) -> float:
    """Seconds for open, write in pieces of 1 MiB and close, over what `path` held before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pieces = [memoryview(data)[at:at + MIB] for at in range(0, len(data), MIB)]
    begin = time.perf_counter()
    # Closed whatever ends it: a file that is still open keeps a mount from being taken down.
    with open(path, "wb", buffering=0) as file:
        for piece in pieces:
            if file.write(piece) != len(piece):
                raise MountError(f"{path}: a short write")
        if sync:
            os.fsync(file.fileno())
    return time.perf_counter() - begin


def tool(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Runs a tool to its end; returns what it printed, and an error says it."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, timeout=TOOL_SECONDS, check=False, env={**os.environ, **(env or {})})
    if done.returncode != 0:
        raise MountError(f"{' '.join(map(str, command))}: status {done.returncode}: {done.stdout.strip()[-500:]}")
    return done.stdout


def fill(file, buffer: bytearray) -> int:
    """Reads to the end of `file`; a byte more than the buffer has is an error of the caller's check."""
    view, total = memoryview(buffer), 0
    while total < len(buffer) and (count := file.readinto(view[total:])):
        total += count
    return total


def read_file(path: Path, buffer: bytearray) -> int:
    """How many bytes of `path` are in the buffer now."""
    with open(path, "rb", buffering=0) as file:
        return fill(file, buffer)


def read_tool(command: list[str], buffer: bytearray, env: dict[str, str] | None = None) -> int:
    """How many bytes that a tool writes to its output are in the buffer now."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0,
                          env={**os.environ, **(env or {})}) as process:
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, MIB)
        count = fill(process.stdout, buffer)
    if process.returncode != 0:
        raise MountError(f"{' '.join(command)}: status {process.returncode}")
    return count


def drop_caches() -> None:
    """Nothing that was read or written is in the kernel's memory any more."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def restored(side, save: Save) -> float:
    """Seconds until all bytes of a save are in memory, from a cold start; other bytes than were saved end the run."""
    side.cool()
    drop_caches()
    buffer = bytearray(len(save.data) + 1)
    begin = time.perf_counter()
    count = side.read(save, buffer)
    seconds = time.perf_counter() - begin
    if hashlib.sha256(memoryview(buffer)[:count]).hexdigest() != save.sha256:
        raise MountError(f"{side.name} gave back other bytes for save {save.number} of {save.training}")
    return seconds


def stat_of(pid: int | str) -> tuple[int, float, str]:
    """Parent, CPU seconds and start of a process, which with its number names it for ever."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS, fields[19]


def kernel_threads() -> dict[tuple[str, str], float]:
    """CPU seconds of every kernel thread."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent, seconds, start = stat_of(name)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == KTHREADD:
            found[name, start] = seconds
    return found


class Cpu:
    """CPU seconds since it was made."""

    def __init__(self, daemons: Iterable[int]):
        self.daemons = list(daemons)
        self.processes, self.kernel = self.of_processes(), kernel_threads()

    def of_processes(self) -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used) + sum(stat_of(pid)[1] for pid in self.daemons)

    def seconds(self) -> dict[str, float]:
        """Of processes, and of the kernel's threads."""
        kernel = sum(seconds - self.kernel.get(key, 0.0) for key, seconds in kernel_threads().items())
        return {"processes": self.of_processes() - self.processes, "kernel": kernel}


def allocated(folder: Path) -> int:
    """Bytes of the blocks that files below a folder have, as `du` counts them."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))

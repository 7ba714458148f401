"""What the kernel counts: CPU time of a daemon's threads, bytes that a process and a disk have written, the page cache."""

import mmap
import os
import subprocess
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
SECTOR = 512
# Threads that turn files into chunks: by themselves, or as part of a version.
SEALERS = ("seal", "versions")


def drop_caches(what: int = 3) -> None:
    """Nothing that was read or written is in the kernel's memory any more; 2 drops names and attributes alone."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text(f"{what}\n")


def touch(folder: Path, size: int) -> None:
    """Takes the memory that a save or a restore of `size` bytes will, and frees it, at most two seconds before a clock runs.

    A virtual machine gives free memory back to its host (`page_reporting`), and the next use of a page then takes ten
    times as long: without this, what is measured is the host. Pages of a file come back as pages of the next file, those
    of a program do not; so both are taken. The file is deleted before the disk has it.
    """
    with mmap.mmap(-1, 2 * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE):
        pass
    path, block = folder / "touched", bytes(4 << 20)
    with path.open("wb", buffering=0) as file:
        for _ in range(size // len(block) * 6 // 5):
            file.write(block)
    path.unlink()


def thread_seconds(pid: int) -> dict[str, float]:
    """CPU seconds of a process by the name of its threads, numbers at the end left out."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name = text[text.index("(") + 1:text.rindex(")")].rstrip("0123456789").rstrip("-")
        fields = text.rsplit(")", 1)[1].split()
        found[name] = found.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / TICKS
    return found


def sealing_seconds(pid: int) -> float:
    return sum(seconds for name, seconds in thread_seconds(pid).items() if name in SEALERS)


def written_bytes(pid: int | str) -> int:
    """Bytes that a process has had written to a disk, less those whose file was gone before they were."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])


def device_of(folder: Path) -> str:
    """The name in /proc/diskstats of the disk below a folder; empty where there is none."""
    device = os.stat(folder).st_dev
    link = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    return link.resolve().name if link.exists() else ""


def disk_written_bytes(device: str) -> int:
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if fields[2] == device:
            return int(fields[9]) * SECTOR
    raise OSError(f"{device} is not in /proc/diskstats")


def run(*command: str | Path, cwd: Path | None = None, timeout: float = 300) -> str:
    """Runs a tool to its end; returns what it printed, and an error says it."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, timeout=timeout, check=False, cwd=cwd)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, command))}: status {done.returncode}: {done.stdout.strip()[-500:]}")
    return done.stdout

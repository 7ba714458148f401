"""The head and the table of the comparison: on what it ran, with which programs, and what each side did."""

import os
import re
import statistics
from collections.abc import Callable
from pathlib import Path

from compare_measure import tool

VERSIONS = (("ckptfs", "--version"), ("zstd", "--version"), ("btrfs", "--version"), ("duperemove", "--version"),
            ("restic", "version"), ("borg", "--version"), ("bindfs", "--version"))
COLUMNS = ("side", "save, s", "save and tool, s", "save and fsync, s", "all saves, s", "CPU, s", "disk, MB", "history, MB",
           "newest back, s", "oldest back, s", "verified")
NOTES = """
- save: open, write in pieces of 1 MiB, close, for {mb:.0f} MB; median, 95th percentile. The trainer is blocked that long.
- save and tool: the same until the tool that its script calls has ended, if the script waits. The other sides have none.
- all saves: the blocked time of all {saves} saves, tools included.
- CPU: of the writer, the tools, the daemons and the kernel's threads, until nothing is left to do{after}.
- disk: allocated blocks of all that the side keeps. history: without plain copies beside it, which are the last save of
  each training (restic, borg, ckptfs), and without what ckptfs reserves for a full disk.
- back: until all bytes of such a save are in memory, after a drop of the page cache; ckptfs is mounted anew. What was read
  is compared with what was saved. verified: what the side itself compares while it is read, against what is on the disk.
"""


def machine(folder: Path, binary: str) -> dict:
    """What the figures depend on beside the programs."""
    versions = {}
    for name, argument in VERSIONS:
        program = binary if name == "ckptfs" else name
        number = re.search(r"\d+(\.\d+)+", tool(program, argument))
        versions[name] = f"{name} {number.group() if number else 'of an unknown version'}"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = tool("findmnt", "-n", "-o", "FSTYPE,SOURCE,OPTIONS", "-T", folder).split()
    return {"kernel": os.uname().release, "cores": os.cpu_count(), "processor": processor(), "load": os.getloadavg()[0],
            "memory_gib": round(memory / (1 << 30)), "filesystem": disk[0], "disk": disk[1], "mount_options": disk[2], "versions": versions}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), os.uname().machine)


def all_of(rows: list[dict], key: str) -> list[float]:
    """Figures of single saves, of all rounds."""
    return [seconds for row in rows for seconds in row[key]]


def pair(values: list[float]) -> str:
    """Median and 95th percentile."""
    ordered = sorted(values)
    return f"{statistics.median(ordered):.3f}, {ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]:.3f}"


def middle(rows: list[dict], value: Callable[[dict], float]) -> float:
    return statistics.median(value(row) for row in rows)


def cells(name: str, rows: list[dict]) -> list[str]:
    has_tool = any(both > alone for row in rows for alone, both in zip(row["write"], row["kept"], strict=True))
    return [name, pair(all_of(rows, "write")), pair(all_of(rows, "kept")) if has_tool else "the same",
            f"{statistics.median(all_of(rows, 'synced')):.3f}", f"{middle(rows, lambda row: row['kept_all']):.1f}",
            f"{middle(rows, lambda row: sum(row['cpu'].values())):.1f}", f"{middle(rows, lambda row: row['disk']) / 1e6:.0f}",
            f"{middle(rows, lambda row: row['history']) / 1e6:.0f}", f"{middle(rows, lambda row: row['newest']):.2f}",
            f"{middle(rows, lambda row: row['oldest']):.2f}", rows[0]["verified"]]


def text(machine: dict, series: dict, sides: dict[str, list[dict]]) -> str:
    """All of it, as Markdown."""
    versions = ", ".join(machine["versions"].values())
    lines = [f"Linux {machine['kernel']}, {machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, "
             f"{machine['filesystem']} on {machine['disk']}, load {machine['load']:.1f} before. {versions}.",
             f"{series['saves']} saves, {series['bytes'] / 1e6:.0f} MB, of {', '.join(series['trainings'])}; medians of "
             f"{series['rounds']} rounds; single saves are those of {' and '.join(series['timed'])}.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "| --- |" + " --: |" * (len(COLUMNS) - 2) + " --- |"]
    lines += ["| " + " | ".join(cells(name, rows)) + " |" for name, rows in sides.items()]
    later = {name: middle(rows, lambda row: row["after"]) for name, rows in sides.items()}
    after = "".join(f"; {name}: {seconds:.0f} s after the last save" for name, seconds in later.items() if seconds >= 1)
    return "\n".join(lines) + "\n" + NOTES.format(mb=series["timed_bytes"] / 1e6, saves=series["saves"], after=after)

"""The head and the table of the comparison: on what it ran, with which programs, and what each side did."""

import os
import statistics
from collections.abc import Callable
from pathlib import Path

from compare_measure import tool

VERSIONS = (("ckptfs", "--version"), ("zstd", "--version"), ("btrfs", "--version"), ("duperemove", "--version"),
            ("restic", "version"), ("borg", "--version"), ("bindfs", "--version"))
COLUMNS = ("side", "save, s: median, p95", "save and tool, s: median, p95", "with fsync, s", "all saves and tools, s", "CPU, s",
           "on the disk, MB", "of these the history, MB", "newest back, s", "oldest back, s", "read bytes verified")
NOTES = """
- save: open, write, close, for {mb:.0f} MB; the trainer is blocked that long whatever is done about the file later.
- save and tool: until the tool that the script calls after it has ended, too; the trainer is blocked that long if the
  script waits. Plain files, btrfs, bindfs and ckptfs have none: what they do beside the trainer is in the CPU seconds.
- all saves and tools: the sum of the column before it over all {saves} saves.
- CPU: of the writer, the tools, the daemons and the kernel's threads, until nothing is left to do.
- on the disk: allocated blocks of everything that the side needs. The history is without plain copies kept beside it: the
  last save of each training (restic, borg), copies for fast reads and the reserve for a full disk (ckptfs).
- back: until all bytes of a {mb:.0f} MB save are in memory, cold (page cache dropped, ckptfs mounted anew). All were compared
  with what was saved.
"""


def machine(folder: Path, binary: str) -> dict:
    """What the figures depend on beside the programs."""
    versions = {}
    for name, argument in VERSIONS:
        program = binary if name == "ckptfs" else name
        versions[name] = next(line for line in tool(program, argument).splitlines() if line).strip("* ")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = tool("findmnt", "-n", "-o", "FSTYPE,SOURCE,OPTIONS", "-T", folder).split()
    return {"kernel": os.uname().release, "cores": os.cpu_count(), "processor": processor(), "memory_gib": round(memory / (1 << 30)),
            "filesystem": disk[0], "disk": disk[1], "mount_options": disk[2], "versions": versions}


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
             f"{machine['filesystem']} on {machine['disk']}.", f"{versions}.",
             f"{series['saves']} saves, {series['bytes'] / 1e6:.0f} MB, of {', '.join(series['trainings'])}; medians of "
             f"{series['rounds']} rounds; single saves are those of {series['timed']}.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "| --- |" + " --: |" * (len(COLUMNS) - 2) + " --- |"]
    lines += ["| " + " | ".join(cells(name, rows)) + " |" for name, rows in sides.items()]
    return "\n".join(lines) + "\n" + NOTES.format(mb=series["timed_bytes"] / 1e6, saves=series["saves"])

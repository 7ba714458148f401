"""What a section of the benchmark has found: rows of figures a side, the bars they are held against, and the machine.

A figure is the median of its rounds. A ratio is that of two medians of the same row, so of the same run.
"""

import json
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Bar:
    """What is asked of a side: a ratio to another side, or, without `of`, a figure in the unit of the row."""

    side: str
    limit: float
    of: str = ""
    at_least: bool = True
    aim: float | None = None

    def words(self) -> str:
        of = f" x {self.of}" if self.of else ""
        aim = f", aim {self.aim:g}" if self.aim is not None else ""
        return f"{'>=' if self.at_least else '<='} {self.limit:g}{of}{aim}"


@dataclass
class Row:
    """One thing that is measured."""

    name: str
    unit: str
    bars: list[Bar] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, side: str, figure: float) -> None:
        self.figures.setdefault(side, []).append(figure)

    def median(self, side: str) -> float:
        return statistics.median(self.figures[side])

    def ratio(self, side: str, other: str) -> float | None:
        below = self.median(other) if other in self.figures else 0.0
        return self.median(side) / below if below else None

    def verdict(self, bar: Bar) -> tuple[float | None, bool]:
        """What is held against the bar, and whether it is met."""
        value = self.ratio(bar.side, bar.of) if bar.of else self.median(bar.side)
        met = value is not None and (value >= bar.limit if bar.at_least else value <= bar.limit)
        return value, met

    def as_json(self) -> dict:
        sides = {side: {"median": statistics.median(values), "least": min(values), "most": max(values), "rounds": values}
                 for side, values in self.figures.items()}
        bars = []
        for bar in self.bars:
            value, met = self.verdict(bar)
            bars.append({"side": bar.side, "of": bar.of or None, "at_least": bar.at_least, "limit": bar.limit,
                         "aim": bar.aim, "value": value, "met": met})
        return {"name": self.name, "unit": self.unit, "sides": sides, "bars": bars}


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def lines_of(row: Row) -> list[str]:
    """A line a side: the figure, its ratio to native and to bindfs, and the bar."""
    lines = []
    for side, values in row.figures.items():
        cells = [number(figure) for figure in (statistics.median(values), min(values), max(values))]
        for other in ("native", "bindfs"):
            ratio = row.ratio(side, other) if side != other else None
            cells.append(f"{ratio:.2f}" if ratio is not None else "")
        told = [f"{bar.words()}: {'met' if row.verdict(bar)[1] else 'missed'}" for bar in row.bars if bar.side == side]
        lines.append(f"| {row.name}, {row.unit} | {side} | {' | '.join(cells)} | {'; '.join(told)} |")
    return lines


def machine(folder: Path) -> dict:
    """What was measured on. The disk is the one that `folder` lies on."""
    columns = ("SOURCE", "FSTYPE", "OPTIONS")
    told = [subprocess.run(["findmnt", "-n", "-o", column, "--target", str(folder)], capture_output=True, text=True,
                           check=True).stdout.strip() for column in columns]
    meminfo = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")]
    vm = Path("/proc/sys/vm")
    return {"kernel": platform.release(), "cores": len(os.sched_getaffinity(0)), "cpu": models[0] if models else "unknown",
            "memory_bytes": int(meminfo["MemTotal"].split()[0]) * 1024, "disk": told[0], "filesystem": told[1],
            "mount_options": told[2], "disk_free_bytes": os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize,
            "dirty_ratio": int((vm / "dirty_ratio").read_text()),
            "dirty_background_ratio": int((vm / "dirty_background_ratio").read_text())}


def show(report: dict, rows: list[Row]) -> None:
    of = report["machine"]
    print(f"{report['section']}: Linux {of['kernel']}, {of['cores']} cores ({of['cpu']}), "
          f"{of['memory_bytes'] / 2**30:.0f} GiB of memory, {of['filesystem']} on {of['disk']}, {report['program']}")
    print("| what | side | median | least | most | of native | of bindfs | bar |\n| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        for line in lines_of(row):
            print(line)
    for note in report["notes"]:
        print(f"- {note}")


def write(report: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")

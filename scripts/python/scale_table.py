"""The table of scale.py: a row a figure, a column a size, and how it grows."""

import math
import os
import pathlib
import platform

# An exponent above this is more than linear and more than noise.
LINEAR = 1.15
# Rows where a store's size is to make no difference: at most so many times the smallest store's.
FLAT, FLAT_TIMES = ("lookup of one name", "first read of a file of 2 chunks"), 1.5
MOUNT_SECONDS, MEMORY_MIB = 3.0, 1024


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"


def shown(what: str, value: float) -> str:
    if "memory" in what:
        return f"{value:.0f} MiB"
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.3g} us"


def exponent(results: dict, what: str) -> float | None:
    """Between the two largest sizes that have the figure; a store of size 0 has none."""
    points = [(float(size), found[what]) for size, found in results.items() if float(size) > 0 and what in found]
    if len(points) < 2:
        return None
    (small, before), (large, after) = sorted(points)[-2:]
    return math.log(after / before) / math.log(large / small)


def misses(results: dict, what: str, slope: float | None) -> str:
    """Which bar a row misses."""
    values = [found[what] for found in results.values() if what in found]
    if "memory" in what and max(values) > MEMORY_MIB:
        return "above 1 GiB"
    if what == "mount" and max(values) > MOUNT_SECONDS:
        return "above 3 s"
    if what in FLAT and max(values) > FLAT_TIMES * values[0]:
        return f"{max(values) / values[0]:.1f} times the smallest store's"
    return "more than linear" if slope is not None and slope > LINEAR else ""


def show(results: dict, counts: dict[str, dict[str, int]]) -> None:
    results = {size: results[size] for size in counts if size in results}
    print(machine())
    for size in results:
        print(f"  {size:>4}: " + ", ".join(f"{count:,} {what}" for what, count in counts[size].items()))
    rows = {what: None for found in results.values() for what in found}
    print(f"\n{'':38}" + "".join(f"{size:>11}" for size in results) + "   grows by")
    for what in rows:
        slope = exponent(results, what)
        cells = "".join(f"{shown(what, found[what]) if what in found else '':>11}" for found in results.values())
        print(f"{what:38}{cells}   {'' if slope is None else f'{slope:+.2f}':8}{misses(results, what, slope)}")

"""The list at the end of a run: each writer, whether it passed with passthrough and without, the versions that were seen.

A test that is about a writer says so with `record_property("writer", name)`; "versions" and "packages" are optional.
"""

from collections import defaultdict

MODES = ("on", "off")


class Listing:
    """Collects what the tests tell."""

    def __init__(self):
        self.results = defaultdict(lambda: defaultdict(list))
        self.told = defaultdict(lambda: defaultdict(dict))

    def add(self, report) -> None:
        """A phase of a test; one that passes counts when it was the call."""
        properties = dict(report.user_properties)
        writer = properties.get("writer")
        mode = next((mode for mode in MODES if f"passthrough-{mode}" in report.nodeid), None)
        if writer is None or mode is None or (report.passed and report.when != "call"):
            return
        self.results[writer][mode].append(report.passed)
        for key in ("versions", "packages"):
            if key in properties:
                self.told[writer][key][mode] = properties[key]

    def lines(self) -> list[str]:
        """The list; empty where no test was about a writer."""
        rows = [self._row(writer) for writer in sorted(self.results)]
        if not rows:
            return []
        rows.insert(0, ("writer", "passthrough on", "off", "versions", "packages"))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[4]]).rstrip() for row in rows]

    def _row(self, writer: str) -> tuple[str, ...]:
        def of(mode: str) -> str:
            passed = self.results[writer][mode]
            return ("PASS" if all(passed) else "FAILED") if passed else "-"

        versions = self.told[writer]["versions"]
        told = versions.get("on", "") if versions.get("on") == versions.get("off") else "; ".join(
            f"{mode}: {versions[mode]}" for mode in MODES if mode in versions
        )
        return (writer, *map(of, MODES), told, next(iter(self.told[writer]["packages"].values()), ""))

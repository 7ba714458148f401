"""Judges a run of pjdfstest against the list of expected failures.

Usage: pjdfstest_verdict.py OUTPUT EXCLUDE. Exit 1 on: an unexpected failure, an excluded test that passed or that does
not exist, an exclusion without a reason, or too few tests executed (a run that tested nothing must never look green).
"""

import pathlib
import re
import sys

# pjdfstest 0.2.2 executes 385 tests as root on Linux; far fewer means that features or users were not found.
LEAST_EXECUTED = 350
LINE = re.compile(r"^(\w+(?:::\w+)+)\s+(ok|FAILED|skipped)$")


def read_results(path: pathlib.Path) -> tuple[dict[str, str], dict[str, str]]:
    """Each test's result, and the first line that follows a failed or skipped one: its reason."""
    results, reasons, last = {}, {}, None
    for line in path.read_text(errors="replace").splitlines():
        found = LINE.match(line)
        if found:
            last = found.group(1)
            results[last] = found.group(2)
        elif last and line.startswith("\t") and last not in reasons:
            reasons[last] = line.strip()
    return results, reasons


def read_exclusions(path: pathlib.Path) -> dict[str, str]:
    exclusions = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, _, reason = line.partition(" ")
        if not reason.strip():
            sys.exit(f"error: {path}:{number}: {name} is excluded without a reason")
        exclusions[name] = reason.strip()
    return exclusions


def judge(results: dict[str, str], reasons: dict[str, str], exclusions: dict[str, str]) -> list[str]:
    """What is wrong with this run, one line each; empty when it is good."""
    problems = []
    for name, result in results.items():
        if result == "FAILED" and name not in exclusions:
            problems.append(f"FAILED {name}: {reasons.get(name, 'no message')}")
        if result == "ok" and name in exclusions:
            problems.append(f"PASSED {name}, which is excluded ({exclusions[name]}): take it off the list")
    for name in exclusions.keys() - results.keys():
        problems.append(f"UNKNOWN {name} is excluded, but there is no such test")
    executed = sum(result != "skipped" for result in results.values())
    if executed < LEAST_EXECUTED:
        problems.append(f"only {executed} tests were executed, {LEAST_EXECUTED} are the least that is credible")
    return problems


def main() -> None:
    output = pathlib.Path(sys.argv[1])
    results, reasons = read_results(output)
    exclusions = read_exclusions(pathlib.Path(sys.argv[2]))
    problems = judge(results, reasons, exclusions)
    count = {key: sum(result == key for result in results.values()) for key in ("ok", "FAILED", "skipped")}
    why_skipped = {reasons.get(name, "no reason given") for name, result in results.items() if result == "skipped"}
    print(f"pjdfstest: {count['ok']} passed, {count['FAILED']} failed ({len(exclusions)} expected), "
          f"{count['skipped']} skipped")
    for reason in sorted(why_skipped):
        print(f"  skipped: {reason}")
    for problem in problems:
        print(problem)
    if not results:
        print("the last lines of its output:", *output.read_text(errors="replace").splitlines()[-5:], sep="\n  ")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

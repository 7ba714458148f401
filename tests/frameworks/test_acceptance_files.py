"""What lies beside checkpoints, and tools that bring files in and out: databases, event files, rsync, cp and git."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from acceptance import packages
from history import AT_UNMOUNT, at, check_good, log, settled
from train_files import scalars
from trainers import Job, Trainers
from witness import tree

COMMITTED = 40
SCALARS = 2000
# Commits rows, tells of each, and never ends: it is killed in the middle of a transaction.
INSERTER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute(f"pragma journal_mode={sys.argv[2]}")
connection.execute("create table if not exists metrics (step integer primary key, blob blob)")
step = connection.execute("select coalesce(max(step), -1) from metrics").fetchone()[0]
while True:
    step += 1
    connection.execute("insert into metrics values (?, ?)", (step, bytes([step % 256]) * 5000))
    connection.commit()
    print(step, flush=True)
"""


def killed_after(script: str, lines: int, *arguments: str) -> int:
    """Runs a script until it has said so many lines, kills it, and returns the last number that it said."""
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)
    for _ in range(lines):
        said = process.stdout.readline()
        assert said, f"the script ended with {process.wait()}"
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().splitlines(keepends=True)
    process.wait()
    whole = [line for line in [said, *rest] if line.endswith("\n")]
    return int(whole[-1])


def save(run: Path, number: int) -> None:
    """A checkpoint beside the others."""
    numpy.save(run / f"step-{number}.npy", numpy.full(100_000, number))


def copy_out(version: Path, out: Path) -> Path:
    """`cp -a` of a version, which has no write permission: what the tools open is a copy of theirs."""
    subprocess.run(["cp", "-a", str(version), str(out)], check=True)
    subprocess.run(["chmod", "-R", "u+w", str(out)], check=True)
    return out


def rows(path: Path) -> int:
    """The rows of a database that is whole; each is what was inserted."""
    connection = sqlite3.connect(path)
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    found = connection.execute("select step, blob from metrics order by step").fetchall()
    connection.close()
    assert found == [(step, bytes([step % 256]) * 5000) for step in range(len(found))]
    return len(found)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_sqlite(mount, tmp_path, record_property, mode):
    """Killed in the middle of a transaction: all that was committed is there, in the directory and in the version."""
    record_property("writer", f"sqlite-{'wal' if mode == 'wal' else 'rollback'}-killed")
    record_property("packages", f"SQLite {sqlite3.sqlite_version}")
    mount.mount(AT_UNMOUNT)
    run = mount.path / "exp"
    run.mkdir()
    committed = 0
    for number in (1, 2):
        committed = killed_after(INSERTER, COMMITTED, str(run / "runs.sqlite"), mode) + 1
        save(run, number)
        mount.run("snapshot", str(run))
        version = copy_out(at(run, number), tmp_path / f"version-{number}")
        assert rows(version / "runs.sqlite") in (committed, committed + 1), "what was committed is not in the version"
    versions = settled(mount, run)
    check_good(versions, 2)
    assert rows(run / "runs.sqlite") in (committed, committed + 1)
    record_property("versions", "2, none by itself")


def logged(run: Path, work: Path, first: int) -> int:
    """Logs scalars from step `first` on, kills, and returns the last step that was told of as flushed."""
    with Trainers("train_files", "train_tensorboard", Job(run, work, first + SCALARS)) as trainers:
        trainers.wait_for(f"saved-{first + SCALARS // 2}")
        trainers.kill()
    return max(int(note.stem.split("-")[1]) for note in work.glob("saved-*.0"))


def test_tensorboard(mount, tmp_path, record_property):
    """A log of a training that is killed and goes on: no version by itself, and in each as far as it was."""
    record_property("writer", "tensorboard")
    record_property("packages", packages("tensorboard", "torch"))
    mount.mount(AT_UNMOUNT)
    run = mount.path / "exp"
    first = logged(run, tmp_path / "first", 0)
    assert log(mount, run) == []
    save(run, 1)
    mount.run("snapshot", str(run))
    second = logged(run, tmp_path / "second", first + 1)
    versions = settled(mount, run)
    check_good(versions, 1)
    expected = {step: float(numpy.float32(1 / (1 + step))) for step in range(second + 1)}
    # One more may have been flushed than was told of before the kill; the next run writes that step again.
    old = scalars(at(run, 1) / "logs")
    assert {step: old[step] for step in range(first + 1)} == {step: expected[step] for step in range(first + 1)}
    found = scalars(run / "logs")
    assert {step: found[step] for step in expected} == expected
    record_property("versions", "1, none by itself")


def same(one: dict, other: dict) -> bool:
    """Names, bytes, times, modes and links of two tree()s; inode numbers are of their filesystems."""
    kept = ("mode", "size", "mtime_ns", "sha256", "target", "nlink")
    # How many links a directory has is for the filesystem to say.
    pick = lambda entry: [entry[key] for key in kept if key in entry and not (key == "nlink" and "size" not in entry)]  # noqa: E731
    return {name: pick(entry) for name, entry in one.items()} == {name: pick(entry) for name, entry in other.items()}


def checkpoint(folder: Path, number: int) -> None:
    """A directory with weights, a hard link, a symbolic link and text."""
    folder.mkdir(exist_ok=True)
    numpy.save(folder / "weights.npy", numpy.random.default_rng(number).normal(size=100_000))
    numpy.save(folder / "optimizer.npy", numpy.random.default_rng(number + 100).normal(size=200_000))
    (folder / "notes.txt").write_text(f"save {number}\n")
    if number == 1:
        os.link(folder / "weights.npy", folder / "linked.npy")
        (folder / "newest").symlink_to("weights.npy")


@pytest.mark.parametrize("tool", ["cp", "rsync"])
def test_copied_in_and_out(mount, tmp_path, record_property, tool):
    """Twice in, the second over the first: a version each, and out of each comes what went in."""
    commands = {"cp": ["cp", "-a"], "rsync": ["rsync", "-aH", "--checksum"]}
    record_property("writer", f"{tool} in and out")
    told = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
    record_property("packages", " ".join(told.splitlines()[0].split()[:4]))
    mount.mount("1s")
    source, run = tmp_path / "source", mount.path / "exp"
    run.mkdir()
    kept = []
    for number in (1, 2):
        checkpoint(source, number)
        kept.append(tree(source))
        subprocess.run([*commands[tool], f"{source}/.", f"{run}/"], check=True)
        assert same(tree(run), kept[-1])
        versions = settled(mount, run, "1s")
        check_good(versions, number)
    for number in (1, 2):
        out = tmp_path / f"out-{number}"
        out.mkdir()
        subprocess.run([*commands[tool], f"{at(run, number)}/.", f"{out}/"], check=True)
        subprocess.run(["chmod", "-R", "u+w", str(out)], check=True)
        assert same(tree(out), kept[number - 1]), f"version {number}"
    record_property("versions", "2")


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
    return subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True).stdout


def test_git(mount, record_property):
    """A repository in the mount: commits, branches, a repack and a kill in the middle of one; it stays whole."""
    record_property("writer", "git")
    record_property("packages", subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.strip())
    mount.mount(AT_UNMOUNT)
    code = mount.path / "code"
    code.mkdir()
    git(code, "init", "-q", "-b", "trunk")
    heads = []
    for number in range(5):
        for name in range(20):
            (code / f"part_{name}.py").write_text(f"STEP = {number}\n" * (name + 1))
        git(code, "add", ".")
        git(code, "commit", "-q", "-m", f"step {number}")
        heads.append(git(code, "rev-parse", "HEAD"))
    repack = subprocess.Popen(["git", "-C", str(code), "repack", "-a", "-d", "-f", "-q"])
    repack.kill()
    repack.wait()
    git(code, "fsck", "--strict")
    git(code, "gc", "-q", "--prune=now")
    mount.remount(AT_UNMOUNT)
    assert git(code, "status", "--porcelain") == ""
    assert git(code, "rev-list", "--reverse", "HEAD").split() == [head.strip() for head in heads]
    git(code, "fsck", "--strict")
    git(code, "checkout", "-q", heads[1].strip())
    assert (code / "part_3.py").read_text() == "STEP = 1\n" * 4
    assert log(mount, code) == [], "code is no checkpoint"
    record_property("versions", "none")

"""Files beside the checkpoints: SQLite databases, logs of several processes, metrics, folders renamed into place."""

import hashlib
import json
import os
import pickle
import sqlite3
import subprocess
import sys
from pathlib import Path

from writers import Digests, Writer

LINES = 200
WORKERS = 2
APPENDER = """
import os, sys
path, name, lines = sys.argv[1], sys.argv[2], int(sys.argv[3])
fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
for line in range(lines):
    os.write(fd, f"{name} {line} {'x' * (line % 97)}\\n".encode())
os.close(fd)
"""


def database(mode: str):
    """A writer that uses SQLite with the given journal mode."""

    def save(folder: Path, generation: int) -> Digests:
        connection = sqlite3.connect(folder / "runs.sqlite")
        (now,) = connection.execute(f"pragma journal_mode={mode}").fetchone()
        assert now == mode, f"SQLite took journal_mode={now} where {mode} was asked for"
        connection.execute("create table if not exists metrics (step integer primary key, loss real, blob blob)")
        reader = sqlite3.connect(folder / "runs.sqlite")
        for step in range(100 * generation, 100 * generation + 100):
            row = (step, 1 / (1 + step), hashlib.sha256(str(step).encode()).digest() * 400)
            with connection:
                connection.execute("insert into metrics values (?, ?, ?)", row)
        (seen,) = reader.execute("select count(*) from metrics").fetchone()
        assert seen == 100 * generation + 100, f"a second connection sees {seen} rows"
        try:
            with connection:
                connection.execute("delete from metrics")
                raise InterruptedError
        except InterruptedError:
            pass
        expected = rows(connection)
        assert len(expected) == 100 * generation + 100, "a rolled back deletion deleted"
        reader.close()
        connection.close()
        return expected

    return save


def rows(connection) -> Digests:
    found = connection.execute("select step, loss, blob from metrics").fetchall()
    return {str(step): f"{loss!r} {hashlib.sha256(blob).hexdigest()}" for step, loss, blob in found}


def load_database(folder: Path) -> Digests:
    # immutable: a look at the database must leave no -wal and -shm beside it.
    connection = sqlite3.connect(f"file:{folder / 'runs.sqlite'}?immutable=1", uri=True)
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    found = rows(connection)
    connection.close()
    return found


def shared_log(folder: Path, generation: int) -> Digests:
    """Two processes append to one log at once; no line is lost or torn."""
    path = folder / "train.log"
    before = path.read_bytes() if path.exists() else b""
    workers = [
        subprocess.Popen([sys.executable, "-S", "-c", APPENDER, str(path), f"w{generation}-{worker}", str(LINES)])
        for worker in range(WORKERS)
    ]
    assert [worker.wait(30) for worker in workers] == [0] * WORKERS
    text = path.read_bytes()
    assert text.startswith(before), "an append changed what was there"
    wanted = sorted(
        f"w{generation}-{worker} {line} {'x' * (line % 97)}" for worker in range(WORKERS) for line in range(LINES)
    )
    assert sorted(text[len(before) :].decode().splitlines()) == wanted
    return {"train.log": hashlib.sha256(text).hexdigest()}


def load_log(folder: Path) -> Digests:
    return {"train.log": hashlib.sha256((folder / "train.log").read_bytes()).hexdigest()}


def metrics(folder: Path, generation: int) -> Digests:
    """Opened, appended and closed for every row, as loggers without TensorFlow do; a reader follows each row."""
    path = folder / "metrics.jsonl"
    expected = path.read_text() if path.exists() else ""
    for step in range(50):
        line = json.dumps({"step": step, "generation": generation, "loss": 1 / (1 + step)}) + "\n"
        with open(path, "a") as file:
            file.write(line)
        expected += line
        assert path.stat().st_size == len(expected)
        with open(path) as file:
            assert file.read() == expected
    with open(path, "r+") as file:
        file.truncate(len(expected) // 2)
    with open(path, "a") as file:
        file.write("resumed\n")
    expected = expected[: len(expected) // 2] + "resumed\n"
    return {"metrics.jsonl": hashlib.sha256(expected.encode()).hexdigest()}


def load_metrics(folder: Path) -> Digests:
    return {"metrics.jsonl": hashlib.sha256((folder / "metrics.jsonl").read_bytes()).hexdigest()}


def step_folder(folder: Path, generation: int) -> Digests:
    """A folder written under a temporary name, fsynced, renamed into place; the step before is removed."""
    temporary = folder / f"step-{generation}.tmp"
    temporary.mkdir()
    expected: Digests = {}
    for shard in range(4):
        raw = pickle.dumps({"shard": shard, "data": hashlib.sha256(f"{generation}{shard}".encode()).digest() * 20_000})
        with open(temporary / f"shard-{shard}.pkl", "xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        expected[f"step-{generation}/shard-{shard}.pkl"] = hashlib.sha256(raw).hexdigest()
    temporary.rename(folder / f"step-{generation}")
    for old in folder.glob(f"step-{generation - 1}"):
        for shard in old.iterdir():
            shard.unlink()
        old.rmdir()
    return expected


def load_folder(folder: Path) -> Digests:
    files = sorted(folder.glob("step-*/shard-*.pkl"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


WRITERS = [
    Writer("sqlite-wal", database("wal"), load_database),
    Writer("sqlite-rollback", database("delete"), load_database),
    Writer("shared-log", shared_log, load_log),
    Writer("metrics-appended", metrics, load_metrics),
    Writer("step-folder", step_folder, load_folder),
]

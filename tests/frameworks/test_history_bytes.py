"""What a version holds stays as it is, whatever goes on in the files that it was made of and beside them."""

import os
import shutil
import sqlite3
import threading
from pathlib import Path

import h5py
import numpy
import pytest
import tensorflow as tf

import witness
from history import QUIET, Training, at, check_good, log, passthrough_on, settled, wait_for_versions
from mount import NEVER, SETTLE

VALUES = 1 << 20


def write_h5py(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["weights"] = numpy.arange(VALUES, dtype=numpy.float32)


def update_h5py(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["weights"][::1000] -= 1.0
        file.attrs["updates"] = int(file.attrs.get("updates", 0)) + 1


def write_memmap(path: Path) -> None:
    mapped = numpy.lib.format.open_memmap(path, "w+", numpy.float32, (VALUES,))
    mapped[:] = numpy.arange(VALUES)
    mapped.flush()


def update_memmap(path: Path) -> None:
    mapped = numpy.lib.format.open_memmap(path, "r+")
    mapped[::1000] -= 1.0
    mapped.flush()


UPDATES = {"h5py": ("state.h5", write_h5py, update_h5py), "memmap": ("state.npy", write_memmap, update_memmap)}


@pytest.mark.parametrize("kind", UPDATES)
@pytest.mark.parametrize("state", ["hot", "sealed"])
def test_updates_in_place_leave_versions_alone(mount, kind, state):
    """Stores into a file that a version holds, before and after its bytes are in chunks."""
    name, write, update = UPDATES[kind]
    mount.mount(NEVER if state == "hot" else SETTLE)
    run = mount.path / "exp"
    run.mkdir()
    write(run / name)
    first = witness.file_digest(run / name)
    mount.run("snapshot", str(run))
    if state == "sealed":
        mount.seal()
    assert witness.file_digest(at(run, 1) / name) == first
    update(run / name)
    second = witness.file_digest(run / name)
    assert second != first
    assert witness.file_digest(at(run, 1) / name) == first
    mount.run("snapshot", str(run))
    newest = log(mount, run)[-1]["number"]
    update(run / name)
    mount.remount(NEVER)
    assert witness.file_digest(at(run, 1) / name) == first
    assert witness.file_digest(at(run, newest) / name) == second


def test_a_mapping_that_stays_open(mount):
    """Stores through a mapping that was made before the version do not reach it."""
    mount.mount(NEVER)
    run = mount.path / "exp"
    run.mkdir()
    write_memmap(run / "state.npy")
    mapped = numpy.lib.format.open_memmap(run / "state.npy", "r+")
    first = witness.file_digest(run / "state.npy")
    mount.run("snapshot", str(run))
    mapped[:] = -1.0
    mapped.flush()
    assert witness.file_digest(run / "state.npy") != first
    assert witness.file_digest(at(run, 1) / "state.npy") == first
    del mapped


class Busy:
    """Does something again and again in a thread, until the end of the block; how often is counted."""

    def __init__(self, act):
        self.act, self.count, self.error = act, 0, None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self.ended.wait(0.01):
                self.act(self.count)
                self.count += 1
        except Exception as error:  # noqa: BLE001 - it is raised again in the test's thread
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        if self.error:
            raise self.error


@pytest.fixture
def closing(mount):
    """What must be closed before the mount ends, also when the test fails; it depends on the mount to go first."""
    acts = []
    yield acts
    for act in acts:
        act()


@passthrough_on
def test_event_files_do_not_hold_versions_back(mount, closing):
    """A log that is written all the time: each version is there while it goes on, with the log so far."""
    mount.mount(QUIET)
    run = mount.path / "exp"
    events = tf.summary.create_file_writer(str(run / "logs"))
    closing.append(events.close)

    def tell(step):
        with events.as_default():
            tf.summary.write("loss", 1.0 / (1 + step), step=step)
        events.flush()

    sizes = []
    with Busy(tell) as busy, Training("torch_replace", run, 3, follow=True) as training:
        for number in (1, 2, 3):
            training.wait_for(f"saved {number}")
            before = busy.count
            wait_for_versions(mount, run, number)
            assert busy.count > before, "nothing was written meanwhile"
            (log_file,) = (at(run, number) / "logs").iterdir()
            sizes.append(log_file.stat().st_size)
            training.go_on()
        training.finish()
    events.close()
    assert 0 < sizes[0] < sizes[1] < sizes[2], sizes
    # A log that is cut between two records reads to there.
    (log_file,) = (at(run, 3) / "logs").iterdir()
    steps = [tf.compat.v1.Event.FromString(record.numpy()).step for record in tf.data.TFRecordDataset(str(log_file))]
    assert len(steps) > 3 and steps[1:] == list(range(len(steps) - 1)), steps
    check_good(settled(mount, run), 3)


@passthrough_on
def test_sqlite_beside_checkpoints(mount, closing, tmp_path):
    """A database in WAL mode that is written while versions are made stays whole, and is in the version when quiet."""
    mount.mount(QUIET)
    run = mount.path / "exp"
    run.mkdir()
    path = run / "runs.sqlite"
    database = sqlite3.connect(path, check_same_thread=False)
    closing.append(database.close)
    assert database.execute("pragma journal_mode=wal").fetchone() == ("wal",)
    database.execute("create table metrics (step integer primary key, blob blob)")

    def insert(step):
        with database:
            database.execute("insert into metrics values (?, ?)", (step, os.urandom(3000)))

    with Busy(insert) as busy, Training("torch_epochs", run, 3, follow=True) as training:
        for number in (1, 2, 3):
            training.wait_for(f"saved {number}")
            wait_for_versions(mount, run, number)
            training.go_on()
        training.finish()
    assert busy.count > 10
    expected = rows(path)
    assert len(expected) == busy.count
    mount.run("snapshot", str(run))
    version = at(run, log(mount, run)[-1]["number"])
    assert (version / "runs.sqlite-wal").stat().st_size > 0, "the log is part of the database"
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("runs.sqlite", "runs.sqlite-wal"):
        shutil.copyfile(version / name, copy / name)
    assert rows(copy / "runs.sqlite") == expected
    database.close()
    assert rows(path) == expected
    versions = settled(mount, run)
    check_good(versions, 4)
    assert rows(path) == expected


def rows(path: Path) -> list:
    """All rows of a database that is whole."""
    database = sqlite3.connect(path)
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    found = database.execute("select step, blob from metrics order by step").fetchall()
    database.close()
    return found

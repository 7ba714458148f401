"""Real training saves: whatever the background does with older versions, each is read back bit for bit."""

import os
import random
import signal
import time

import pytest

import series_saves
from history import passthrough_on, wait_for_versions

# Every series in one way, and one of them in all.
CASES = [
    ("adamw-near", series_saves.in_place),
    ("adamw-near", series_saves.a_file_a_step),
    ("adamw-near", series_saves.renamed),
    ("adamw-far", series_saves.in_place),
    ("bf16-far", series_saves.renamed),
    ("bf16-near", series_saves.renamed),
    ("bf16-pure", series_saves.a_file_a_step),
    ("bf16-finetune", series_saves.a_file_a_step),
    ("frozen", series_saves.in_place),
    ("lora", series_saves.a_file_a_step),
    ("npz", series_saves.a_file_a_step),
    ("dcp", series_saves.a_file_a_step),
]
SETTLE = "300ms"
IDLE_SECONDS = 90
KILLS = 3


@pytest.fixture(scope="session")
def saves_of(tmp_path_factory):
    """Name to the saves of a series, made when it is first asked for."""
    out, made = tmp_path_factory.mktemp("series"), {}

    def get(name: str) -> list[series_saves.Save]:
        if name not in made:
            made[name] = series_saves.make(out, name)
        return made[name]

    return get


def write_all(mount, saves, way) -> list[dict[str, bytes]]:
    """Writes the saves, each when the one before is a version; returns what each version must hold of its save."""
    run, written = mount.path / "exp", []
    run.mkdir()
    for number, save in enumerate(saves, 1):
        written.append({way(run, name, number, data): data for name, data in save.items()})
        wait_for_versions(mount, run, number)
    return written


def check_some(mount, written, chance, count: int) -> None:
    """Versions in random order, each whole or a random part of it."""
    for _ in range(count):
        number = chance.randrange(len(written))
        for name, data in written[number].items():
            path = mount.path / "exp" / ".snapshots" / f"{number + 1:06}" / name
            begin = chance.choice([0, chance.randrange(len(data))])
            end = chance.choice([len(data), chance.randrange(begin, len(data)) + 1])
            with open(path, "rb", buffering=0) as file:
                assert os.fstat(file.fileno()).st_size == len(data), path
                assert pread(file.fileno(), begin, end) == data[begin:end], f"{path}, bytes {begin} to {end}"


def pread(fd: int, begin: int, end: int) -> bytes:
    """Exactly these bytes, unless the file ends."""
    found = bytearray()
    while part := os.pread(fd, end - begin - len(found), begin + len(found)):
        found += part
    return bytes(found)


def check_all(mount, written, chance) -> None:
    for number in chance.sample(range(len(written)), len(written)):
        for name, data in written[number].items():
            assert (mount.path / "exp" / ".snapshots" / f"{number + 1:06}" / name).read_bytes() == data, (number, name)


def is_idle(mount) -> bool:
    status = mount.status()
    assert status["health"] == "ok" and not status["last_errors"], status
    return status["reencoding"] == "idle" and not status["sealing"]["queued_files"] and not status["sealing"]["in_progress"]


def idle(mount, meanwhile=lambda: time.sleep(0.1)) -> dict:
    """Waits until nothing is left to be encoded anew; returns the status."""
    deadline = time.monotonic() + IDLE_SECONDS
    while not is_idle(mount):
        assert time.monotonic() < deadline, f"not idle within {IDLE_SECONDS} s: {mount.status()}"
        meanwhile()
    return mount.status()


@passthrough_on
@pytest.mark.parametrize(("name", "way"), CASES, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_all_versions_while_and_after(mount, saves_of, name, way):
    """Read in random order while the background works, when it is done, and in a new mount."""
    chance = random.Random(f"{name} {way.__name__}")
    mount.mount(SETTLE)
    written = write_all(mount, saves_of(name), way)
    idle(mount, lambda: check_some(mount, written, chance, 2))
    check_all(mount, written, chance)
    mount.remount(SETTLE)
    check_all(mount, written, chance)


@passthrough_on
@pytest.mark.parametrize("name", ["adamw-near", "bf16-near"])
def test_what_is_near_is_stored_as_deltas(mount, saves_of, name):
    """Otherwise the tests here prove nothing: the store gets smaller by itself."""
    mount.mount(SETTLE)
    written = write_all(mount, saves_of(name), series_saves.in_place)
    status = idle(mount)
    assert status["reencoded_saved_bytes"] > 0, status
    check_all(mount, written, random.Random(0))


@passthrough_on
@pytest.mark.parametrize("name", ["adamw-near", "bf16-near", "frozen"])
def test_killed_in_the_middle(mount, saves_of, name):
    """The daemon is killed while it encodes anew, several times over; a new mount has every byte and goes on."""
    chance = random.Random(name)
    mount.mount(SETTLE)
    written = write_all(mount, saves_of(name), series_saves.in_place)
    for number in range(KILLS):
        moment = time.monotonic() + chance.uniform(1, 3)
        # The first time as soon as something was encoded anew, later at any time.
        while not (number == 0 and mount.status()["reencoded_bytes"]) and time.monotonic() < moment + 10 * (number == 0):
            time.sleep(0.01)
        kill(mount)
        mount.mount(SETTLE)
        check_some(mount, written, chance, 4)
    idle(mount)
    check_all(mount, written, chance)


def kill(mount) -> None:
    """kill -9 of the mount's own daemon; the dead mountpoint is what the next mount cleans."""
    pid = mount.status()["pid"]
    os.kill(pid, signal.SIGKILL)
    while os.path.exists(f"/proc/{pid}") and " Z " not in open(f"/proc/{pid}/stat").read():
        time.sleep(0.01)

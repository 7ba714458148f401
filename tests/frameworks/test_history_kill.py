"""A training killed in the middle of a save: what it left is on record as such, and the newest whole version loads."""

import os
import signal
import time
from pathlib import Path

import safetensors.torch
import tensorflow as tf
import torch

from history import QUIET, Training, passthrough_on, settled, train_and_follow, wait_for_versions

BEGUN_BYTES = 1 << 20
KILL_SECONDS = 30


def kill_in_the_middle(mount, writer: str, run: Path, in_the_middle) -> None:
    """Kills a training in its second save, as soon as `in_the_middle` says that it is at it."""
    with Training(writer, run, 2, follow=True) as training:
        training.wait_for("saved 1")
        wait_for_versions(mount, run, 1)
        training.go_on()
        deadline = time.monotonic() + KILL_SECONDS
        while not is_stopped(training, in_the_middle):
            assert time.monotonic() < deadline, "the second save was never seen in the middle"
        training.kill()


def is_stopped(training: Training, in_the_middle) -> bool:
    """Whether a training is stopped in the middle; one that a busy machine has stopped too late goes on."""
    if not in_the_middle():
        return False
    training.process.send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    if in_the_middle():
        return True
    training.process.send_signal(signal.SIGCONT)
    return False


def check_killed(mount, run: Path) -> None:
    """The save before it is `latest`, what the kill has left is `newest` and said to be no good."""
    good, bad = wait_for_versions(mount, run, 2)
    assert good["complete"] and good["valid"], good
    assert not (bad["complete"] and bad["valid"]) and bad["why"], bad
    snapshots = run / ".snapshots"
    assert (os.readlink(snapshots / "latest"), os.readlink(snapshots / "newest")) == ("000001", "000002")


def check_resumed(mount, run: Path, writer: str, resume: Path) -> None:
    """Training goes on from there, and its saves are good versions again."""
    train_and_follow(mount, writer, run, 2, RESUME=resume)
    told = [(version["number"], version["complete"] and version["valid"], version["why"]) for version in settled(mount, run)]
    assert [(number, good) for number, good, _ in told] == [(1, True), (2, False), (3, True), (4, True)], told
    assert os.readlink(run / ".snapshots" / "latest") == "000004"


def size(path: Path) -> int:
    """Bytes of a file, 0 where it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@passthrough_on
def test_torch(mount):
    """A truncated file under the final name."""
    mount.mount(QUIET)
    run = mount.path / "exp"
    model = run / "model.pt"
    full = 64 * 4 << 20
    kill_in_the_middle(mount, "torch_large", run, lambda: BEGUN_BYTES < size(model) < full)
    assert size(model) < full, "it was killed too late"
    check_killed(mount, run)
    latest = run / ".snapshots/latest/model.pt"
    assert torch.load(latest)["step"] == 1
    check_resumed(mount, run, "torch_large", latest)
    assert [torch.load(run / f".snapshots/{number}/model.pt")["step"] for number in ("000003", "000004")] == [2, 3]


@passthrough_on
def test_safetensors(mount):
    """An orphan of full size under a temporary name, which nobody ever removes."""
    mount.mount(QUIET)
    run = mount.path / "exp"
    kill_in_the_middle(mount, "safetensors_large", run, lambda: any(size(path) for path in run.glob(".tmp*")))
    (orphan,) = run.glob(".tmp*")
    assert size(orphan) == size(run / "model.safetensors")
    check_killed(mount, run)
    latest = run / ".snapshots/latest/model.safetensors"
    assert float(safetensors.torch.load_file(latest)["layer3"][-1]) == 103
    check_resumed(mount, run, "safetensors_large", latest)
    assert float(safetensors.torch.load_file(latest)["layer3"][-1]) == 303
    assert orphan.exists(), "what the kill has left is the user's to remove"


@passthrough_on
def test_tensorflow(mount):
    """A directory with part of the data, and `checkpoint` still names the one before."""
    mount.mount(QUIET)
    run = mount.path / "exp"
    kill_in_the_middle(mount, "tf_large", run, lambda: any(size(path) > BEGUN_BYTES for path in run.glob("ckpt-2_temp/part*")))
    assert tf.train.latest_checkpoint(str(run)).endswith("ckpt-1"), "it was killed too late"
    check_killed(mount, run)
    latest = run / ".snapshots/latest"
    checkpoint = tf.train.Checkpoint(weights=tf.Variable(tf.zeros(1 << 25)), step=tf.Variable(0, dtype=tf.int64))
    checkpoint.restore(tf.train.latest_checkpoint(str(latest))).assert_consumed()
    assert (int(checkpoint.step), float(checkpoint.weights[-1])) == (1, 1.0)
    check_resumed(mount, run, "tf_large", latest)
    checkpoint.restore(tf.train.latest_checkpoint(str(latest))).assert_consumed()
    assert (int(checkpoint.step), float(checkpoint.weights[-1])) == (3, 3.0)

"""Real writers, unmodified, on real mounts: one version a save, with the right step, and each of them loads."""

import json
from pathlib import Path

import keras
import pytest
import safetensors.torch
import tensorflow as tf
import torch
import torch.distributed.checkpoint as distributed
from transformers.trainer_utils import get_last_checkpoint

import training
from history import (
    AT_UNMOUNT, QUIET, Training, at, at_any_pace, check_good, passthrough_on, settled, train, train_and_follow,
    wait_for_versions,
)


def test_torch_overwritten_at_full_speed(mount):
    """Twenty saves over one name give twenty versions, each with its own bytes."""
    mount.mount(AT_UNMOUNT, "max_to_keep=0")
    run = mount.path / "exp"
    train("torch_in_place", run, 20)
    versions = settled(mount, run, options="max_to_keep=0")
    check_good(versions, 20)
    assert [version["step"] for version in versions] == list(range(1, 21))
    for number in range(1, 21):
        assert torch.load(at(run, number) / "model.pt")["step"] == number
    shown = mount.run("log", str(run)).splitlines()
    assert [line.split()[0].lstrip("0") for line in shown if line[:1].isdigit()] == [str(n) for n in range(20, 0, -1)], shown


def test_max_to_keep_leaves_the_newest(mount):
    """Exactly as many as asked for, and the newest."""
    mount.mount(AT_UNMOUNT, "max_to_keep=3")
    run = mount.path / "exp"
    train("torch_in_place", run, 20)
    versions = settled(mount, run, options="max_to_keep=3")
    assert [(version["number"], version["step"]) for version in versions] == [(18, 18), (19, 19), (20, 20)]
    assert sorted(path.name for path in (run / ".snapshots").iterdir() if path.name.isdigit()) == ["000018", "000019", "000020"]
    assert [torch.load(at(run, number) / "model.pt")["step"] for number in (18, 19, 20)] == [18, 19, 20]


def test_metrics_make_no_versions(mount):
    """A metrics file that is rewritten all the time costs nothing and pushes out nothing."""
    mount.mount(QUIET, "max_to_keep=2")
    run = mount.path / "exp"
    train_and_follow(mount, "torch_in_place", run, 2)
    for number in range(1000):
        (run / "metrics.json").write_text(f'{{"step": {number}}}')
    versions = settled(mount, run, options="max_to_keep=2")
    check_good(versions, 2)


def test_a_rename_that_comes_late(mount):
    """A script that checks or uploads its temporary file for long: once it has its name, that is a good version."""
    mount.mount(QUIET)
    run = mount.path / "exp"
    run.mkdir()
    torch.save({"step": 7}, run / "model.pt.tmp")
    (left,) = wait_for_versions(mount, run, 1)
    assert not left["complete"], left
    (run / "model.pt.tmp").rename(run / "model.pt")
    *_, newest = wait_for_versions(mount, run, 2)
    assert (newest["complete"], newest["valid"], newest["step"]) == (True, True, 7), newest
    assert torch.load(run / ".snapshots/latest/model.pt")["step"] == 7


def restore(folder: Path) -> int:
    """Restores everything of the newest TensorFlow checkpoint of a directory; its step."""
    checkpoint = training.tf_checkpoint()
    checkpoint.restore(tf.train.latest_checkpoint(str(folder))).assert_consumed()
    return int(checkpoint.step)


@pytest.mark.parametrize("pace", ["full-speed", "followed"])
def test_checkpoint_manager(mount, pace):
    """What TensorFlow's own rotation has deleted is in the versions, and restores from there."""
    follow = pace == "followed"
    mount.mount(QUIET if follow else AT_UNMOUNT, "max_to_keep=0")
    run = mount.path / "exp"
    at_any_pace(mount, follow, "tf_manager", run, 10)
    versions = settled(mount, run, options="max_to_keep=0")
    check_good(versions, 10)
    assert [version["step"] for version in versions] == list(range(1, 11))
    assert sorted(path.name for path in run.glob("*.index")) == ["ckpt-10.index", "ckpt-8.index", "ckpt-9.index"]
    assert [restore(at(run, number)) for number in (1, 5, 10)] == [1, 5, 10]
    assert restore(run / ".snapshots" / "latest") == 10


@passthrough_on
@pytest.mark.parametrize("pace", ["full-speed", "followed"])
def test_hf_trainer(mount, pace):
    """One version a save; what save_total_limit has deleted is in the older ones and loads."""
    follow = pace == "followed"
    mount.mount(QUIET if follow else AT_UNMOUNT)
    run = mount.path / "exp"
    at_any_pace(mount, follow, "hf_trainer", run, 5)
    versions = settled(mount, run)
    check_good(versions, 5)
    assert [version["step"] for version in versions] == [2, 4, 6, 8, 10]
    assert sorted(path.name for path in run.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-8"]
    for number in (1, 2, 3):
        old = at(run, number) / f"checkpoint-{2 * number}"
        assert set(safetensors.torch.load_file(old / "model.safetensors")) == {"net.weight", "net.bias"}
        assert torch.load(old / "optimizer.pt")["state"][0]["step"] == 2 * number
        assert json.loads((old / "trainer_state.json").read_text())["global_step"] == 2 * number
        assert get_last_checkpoint(str(at(run, number))) == str(old)
    assert get_last_checkpoint(str(run)) == str(run / "checkpoint-10")
    assert get_last_checkpoint(str(run / ".snapshots/latest")) == str(run / ".snapshots/latest/checkpoint-10")


def load_lightning(version: Path, number: int) -> None:
    """The checkpoint of this epoch, made at two batches an epoch."""
    (path,) = version.glob(f"epoch={number - 1}-*.ckpt")
    state = torch.load(path, weights_only=False)
    assert (state["epoch"], state["global_step"]) == (number - 1, 2 * number)


def load_keras(version: Path, number: int) -> None:
    """The model, with the optimizer at this epoch."""
    assert int(keras.models.load_model(version / "model.keras").optimizer.iterations) == 2 * number


def load_dcp(version: Path, number: int) -> None:
    """Every tensor of this step's directory."""
    model, _ = training.torch_model()
    state = {"model": model.state_dict()}
    before = state["model"]["0.weight"].clone()
    distributed.load(state, checkpoint_id=str(version / f"step_{number}"))
    assert not torch.equal(before, state["model"]["0.weight"]), "nothing was loaded"


def load_orbax(version: Path, number: int) -> None:
    """The arrays of this step, whose values are the step."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        assert float(checkpointer.restore(version / str(number) / "default")["w"][0, 0]) == number


def load_safetensors(version: Path, number: int) -> None:
    """The last layer, whose values tell the step."""
    assert float(safetensors.torch.load_file(version / "model.safetensors")["layer3"][0]) == number * 100 + 3


def load_epoch(version: Path, number: int) -> None:
    """The file of this epoch."""
    assert torch.load(version / f"epoch_{number:04}.pt")["epoch"] == number


def load_replaced(version: Path, number: int) -> None:
    """The one file, at this step."""
    assert torch.load(version / "model.pt")["step"] == number


# How each saves, how its versions load, and the steps and epochs that `log` must tell; None where nobody could know.
CASES = {
    "lightning": (load_lightning, lambda number: (2 * number, number - 1)),
    "keras": (load_keras, None),
    "dcp": (load_dcp, lambda number: (number, None)),
    "orbax": (load_orbax, lambda number: (number, None)),
    "safetensors": (load_safetensors, None),
    "torch_epochs": (load_epoch, lambda number: (None, number)),
    "torch_replace": (load_replaced, lambda number: (number, None)),
    "torch_in_place": (load_replaced, lambda number: (number, None)),
}
SAVES = 4


@passthrough_on
@pytest.mark.parametrize("writer", CASES)
def test_followed(mount, writer):
    """Each save is one version, found while the training waits."""
    mount.mount(QUIET)
    run = mount.path / "exp"
    train_and_follow(mount, writer, run, SAVES)
    check_writer(mount, writer, settled(mount, run))


@passthrough_on
@pytest.mark.parametrize("writer", ["lightning", "torch_epochs", "torch_replace", "dcp", "orbax"])
def test_full_speed(mount, writer):
    """Each save is one version though nothing ever comes to rest between them."""
    mount.mount(AT_UNMOUNT)
    run = mount.path / "exp"
    train(writer, run, SAVES)
    check_writer(mount, writer, settled(mount, run))


@passthrough_on
@pytest.mark.parametrize("writer", ["torch_in_place", "torch_epochs", "torch_replace", "safetensors"])
def test_steady_pace(mount, writer):
    """The version of one save is made while the next is not begun yet, though the run never comes to rest."""
    mount.mount(AT_UNMOUNT)
    run = mount.path / "exp"
    with Training(writer, run, SAVES, follow=True) as training:
        for number in range(1, SAVES + 1):
            training.wait_for(f"saved {number}")
            if number > 1:
                wait_for_versions(mount, run, number - 1)
            training.go_on()
        training.finish()
    check_writer(mount, writer, settled(mount, run))


def check_writer(mount, writer, versions):
    """One good version a save, which tells step and epoch, and loads."""
    load, told = CASES[writer]
    check_good(versions, SAVES)
    if told:
        found = [(version["step"], version["epoch"]) for version in versions]
        assert found == [told(number) for number in range(1, SAVES + 1)]
    for number in range(1, SAVES + 1):
        load(at(mount.path / "exp", number), number)

"""Every block of Python in docs/recipes.md, run as it stands, after the saves that it is for."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from mount import NEVER, Mount

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def blocks(title: str) -> list[str]:
    """The blocks of Python in the section `title`."""
    section = PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    found = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert found, title
    return found


class Recipe:
    """A mount, in which the blocks of a section are run; their names are shared."""

    def __init__(self, mount: Mount):
        self.mount = mount
        self.names: dict = {"Path": Path, "os": os, "json": json, "subprocess": subprocess}

    def version(self, run: str = "ckpts") -> None:
        self.mount.run("snapshot", str(self.mount.path / run))

    def run(self, title: str, number: int = 0) -> None:
        exec(compile(blocks(title)[number], f"{PAGE.name}: {title}", "exec"), self.names)


@pytest.fixture
def recipe(program, tmp_path, monkeypatch):
    mount = Mount(program, tmp_path, "on")
    mount.mount(NEVER)
    monkeypatch.chdir(mount.path)
    monkeypatch.setenv("PATH", f"{Path(program).parent}:{os.environ['PATH']}")
    Path("ckpts").mkdir()
    yield Recipe(mount)
    monkeypatch.chdir(tmp_path)
    mount.drop()


def test_pytorch(recipe):
    import torch

    model = torch.nn.Linear(40, 50)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 40)).sum().backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "ckpts/model.pt")
    saved = model.weight.detach().clone()
    recipe.version()
    Path("ckpts/model.pt").write_bytes(b"")  # A save that was killed.
    recipe.version()
    model.weight.data.zero_()
    recipe.names |= {"torch": torch, "model": model, "optimizer": optimizer}
    recipe.run("PyTorch")
    assert torch.equal(model.weight, saved) and recipe.names["state"]["optimizer"]["state"]


def test_keep_the_best(recipe):
    import torch

    recipe.names |= {"torch": torch, "model": torch.nn.Linear(40, 50)}
    recipe.mount.run("run", "add", "ckpts")
    recipe.mount.run("policy", "set", "ckpts", "monitor=val_loss", "mode=min", "keep_best=3")
    for loss in (0.5, 0.25, 0.75):
        recipe.names["val_loss"] = loss
        recipe.names["model"].weight.data.fill_(loss)
        recipe.run("Keep the best")
        recipe.version()
    recipe.run("Keep the best", 1)
    assert recipe.names["best"]["weight"][0, 0] == 0.25


def test_compare(recipe):
    import torch

    for run, fill in (("runs/a", 1.0), ("runs/b", 2.0)):
        os.makedirs(run)
        torch.save({"w": torch.full((100, 100), fill), "same": torch.ones(100, 100)}, f"{run}/model.pt")
        recipe.version(run)
    recipe.run("Compare")
    assert recipe.names["changed"] == ["w"]


def test_dcp(recipe):
    import torch
    import torch.distributed.checkpoint as dcp

    for step in (9, 10):
        dcp.save({"w": torch.full((100, 100), float(step))}, checkpoint_id=f"ckpts/step-{step}")
    recipe.version()
    state = {"w": torch.zeros(100, 100)}
    recipe.names |= {"dcp": dcp, "state": state}
    recipe.run("Distributed checkpoints (DCP)")
    assert state["w"][0, 0] == 10


def test_tensorflow(recipe):
    import tensorflow as tf

    model, step = tf.Module(), tf.Variable(7)
    model.weight = tf.Variable(tf.ones([50, 50]))
    saved = tf.train.Checkpoint(model=model, step=step)
    tf.train.CheckpointManager(saved, "ckpts", max_to_keep=2).save()
    recipe.version()
    step.assign(0)
    recipe.names |= {"tf": tf, "model": model, "step": step}
    recipe.run("TensorFlow")
    assert step.numpy() == 7


def test_keras(recipe):
    import keras
    import numpy

    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(4)])
    model.save("ckpts/model.keras")
    recipe.version()
    recipe.names |= {"keras": keras, "model": None}
    recipe.run("Keras")
    numpy.testing.assert_array_equal(recipe.names["model"].get_weights()[0], model.get_weights()[0])

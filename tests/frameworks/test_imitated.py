"""Writers of packages that are not installed here, imitated by what they do to files: a version for each save, at full speed."""

import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from history import AT_UNMOUNT, at, check_good, log, runs, settled

KEEP_ALL = "max_to_keep=0"
SAVES = 4


def lightgbm(folder: Path, number: int) -> None:
    """LightGBM's `Booster.save_model`, and its callback in a loop: text over one name."""
    trees = "".join(f"Tree={tree}\nleaf_value={number}\n\n" for tree in range(number))
    (folder / "model.txt").write_text(f"tree\nversion=v4\n{trees}end of trees\n\nparameters:\nend of parameters\n")


def xgboost(folder: Path, number: int) -> None:
    """XGBoost's `Booster.save_model` to JSON."""
    (folder / "model.json").write_text(f'{{"learner":{{"attributes":{{"n":"{number}"}}}},"version":[3,2,0]}}')


def flax(folder: Path, number: int) -> None:
    """`flax.training.checkpoints` without Orbax: MessagePack as `checkpoint_tmp`, then its name; two stay."""
    (folder / "checkpoint_tmp").write_bytes(b"\x81\xa1w\xc4\x04" + bytes([number, 0, 0xFF, 0xFE]))
    (folder / "checkpoint_tmp").rename(folder / f"checkpoint_{number}")
    (folder / f"checkpoint_{number - 2}").unlink(missing_ok=True)


def stable_baselines(folder: Path, number: int) -> None:
    """stable-baselines3's `CheckpointCallback`: a zip around torch files, and the replay buffer."""
    with zipfile.ZipFile(folder / f"rl_model_{number}_steps.zip", "w") as archive:
        archive.writestr("data", '{"n_envs": 1}')
        with archive.open("policy.pth", "w") as policy:
            torch.save({"w": torch.full((8,), number)}, policy)
    with open(folder / f"rl_model_replay_buffer_{number}_steps.pkl", "wb") as buffer:
        pickle.dump(np.full(100, number), buffer)


def timm(folder: Path, number: int) -> None:
    """timm's `CheckpointSaver`: one file under three names, two of which move on from save to save."""
    torch.save({"epoch": number, "w": torch.full((8,), number)}, folder / "tmp.pth.tar")
    (folder / "last.pth.tar").unlink(missing_ok=True)
    os.replace(folder / "tmp.pth.tar", folder / "last.pth.tar")
    os.link(folder / "last.pth.tar", folder / f"checkpoint-{number}.pth.tar")
    (folder / f"checkpoint-{number - 2}.pth.tar").unlink(missing_ok=True)
    (folder / "model_best.pth.tar").unlink(missing_ok=True)
    os.link(folder / "last.pth.tar", folder / "model_best.pth.tar")


def pipeline(folder: Path, number: int) -> None:
    """diffusers' `DiffusionPipeline.save_pretrained`: a folder for each part, and the list of them last."""
    for part in ("unet", "vae"):
        (folder / part).mkdir(exist_ok=True)
        torch.save({"w": torch.full((8,), number)}, folder / part / "weights.pt")
    (folder / "model_index.json").write_text("{}")


def steps(folder: Path, number: int) -> None:
    """Scripts of diffusers with Accelerate: the oldest goes before the next one is made."""
    shutil.rmtree(folder / f"checkpoint-{number - 2}", ignore_errors=True)
    (folder / f"checkpoint-{number}" / "unet").mkdir(parents=True)
    torch.save({"w": torch.full((8,), number)}, folder / f"checkpoint-{number}" / "unet" / "weights.pt")


def zarr(folder: Path, number: int) -> None:
    """A zarr store of version 3 that is written anew: chunks in folders of folders."""
    shutil.rmtree(folder / "state.zarr", ignore_errors=True)
    for row in range(2):
        chunk = folder / "state.zarr/w/c" / str(row)
        chunk.mkdir(parents=True)
        (chunk / "0").write_bytes(b"\x28\xb5\x2f\xfd" + bytes([number] * 100))


# What of a version tells which save it is of, and whether names tell the step.
WRITERS = [
    (lightgbm, "model.txt", False),
    (xgboost, "model.json", False),
    (flax, "checkpoint_{}", True),
    (stable_baselines, "rl_model_replay_buffer_{}_steps.pkl", True),
    (timm, "model_best.pth.tar", True),
    (pipeline, "vae/weights.pt", False),
    (steps, "checkpoint-{}/unet/weights.pt", True),
]


@pytest.mark.parametrize("writer, name, tells", WRITERS, ids=lambda value: getattr(value, "__name__", ""))
def test_imitated(mount, writer, name, tells):
    """As many versions as saves, each with the bytes of its save, and one run."""
    mount.mount(AT_UNMOUNT, KEEP_ALL)
    run = mount.path / "exp"
    run.mkdir()
    said = []
    for number in range(1, SAVES + 1):
        writer(run, number)
        said.append((run / name.format(number)).read_bytes())
    versions = settled(mount, run, options=KEEP_ALL)
    check_good(versions, SAVES)
    assert list(runs(mount)) == ["exp"]
    found = [(at(run, number) / name.format(number)).read_bytes() for number in range(1, SAVES + 1)]
    assert found == said
    if tells:
        assert [version["step"] for version in versions] == list(range(1, SAVES + 1))
    if writer is steps:
        assert not any((at(run, number) / f"checkpoint-{number + 1}").exists() for number in range(1, SAVES))


def test_a_zarr_store_is_no_run_of_its_own(mount):
    """The run is the folder that the store is in, however deep its chunks lie."""
    mount.mount(AT_UNMOUNT, KEEP_ALL)
    run = mount.path / "exp"
    run.mkdir()
    zarr(run, 1)
    settled(mount, run, options=KEEP_ALL)
    assert list(runs(mount)) == ["exp"] and len(log(mount, run)) == 1

"""Which directory a version is of, what is left of a run that is deleted, and what nobody sees who does not ask."""

import glob
import json
import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

import torch
from transformers.trainer_utils import get_last_checkpoint

import witness
from history import (
    AT_UNMOUNT, QUIET, SCRIPT, Training, at, check_good, log, passthrough_on, runs, settled, train,
    train_and_follow,
)


def test_a_sweep_is_four_runs(mount):
    """Four jobs that save at the same time count for themselves, and hold nothing of each other."""
    mount.mount(AT_UNMOUNT)
    sweep = mount.path / "multirun/2026-01-31/12-00-05"
    train("sweep", sweep, 6)
    settled(mount, sweep / "0")
    assert runs(mount) == {f"multirun/2026-01-31/12-00-05/{job}": 6 for job in range(4)}
    for job in range(4):
        versions = log(mount, sweep / str(job))
        check_good(versions, 6)
        assert [version["step"] for version in versions] == [1, 2, 3, 4, 5, 6]
        for number in range(1, 7):
            version = at(sweep / str(job), number)
            assert os.listdir(version) == ["ckpt.pt"]
            state = torch.load(version / "ckpt.pt")
            assert (state["job"], state["step"], float(state["weights"][-1])) == (job, number, job)


def test_directories_of_a_checkpoint_are_one_run(mount):
    """However deep a script puts its files, its checkpoints are those of one run."""
    mount.mount(QUIET)
    run = mount.path / "exp"
    train_and_follow(mount, "nested", run, 3)
    versions = settled(mount, run)
    assert runs(mount) == {"exp": 3}
    check_good(versions, 3)
    assert [(version["step"], version["epoch"]) for version in versions] == [(100, 3), (200, 3), (300, 3)]
    assert [len(list(at(run, number).rglob("weights.bin"))) for number in (1, 2, 3)] == [1, 2, 3]


@passthrough_on
def test_two_writers_at_once(mount):
    """Runs beside each other share neither numbers nor files."""
    mount.mount(AT_UNMOUNT, "max_to_keep=0")
    one, other = mount.path / "one", mount.path / "other"
    with Training("torch_epochs", one, 20) as first, Training("torch_in_place", other, 15) as second:
        first.finish()
        second.finish()
    settled(mount, one, options="max_to_keep=0")
    assert runs(mount) == {"one": 20, "other": 15}
    check_good(log(mount, one), 20)
    check_good(log(mount, other), 15)
    assert [version["epoch"] for version in log(mount, one)] == list(range(1, 21))
    assert [version["step"] for version in log(mount, other)] == list(range(1, 16))
    assert torch.load(at(one, 20) / "epoch_0020.pt")["epoch"] == 20
    assert sorted(os.listdir(at(other, 15))) == ["metrics.json", "model.pt"]


@passthrough_on
def test_workers_of_a_strategy_make_no_versions(mount):
    """The chief's saves are versions; what a worker writes and removes beside them is none."""
    mount.mount(AT_UNMOUNT, "max_to_keep=0")
    run = mount.path / "exp"
    with Training("tf_manager", run, 6) as chief, Training("tf_worker", run, 6) as worker:
        chief.finish()
        worker.finish()
    versions = settled(mount, run, options="max_to_keep=0")
    check_good(versions, 6)
    assert runs(mount) == {"exp": 6}
    assert [version["step"] for version in versions] == [1, 2, 3, 4, 5, 6]
    assert not (run / "workertemp_1").exists()


@passthrough_on
def test_a_deleted_run_is_restored_and_purged(mount):
    """After `rm -rf` everything comes back bit for bit from the directory above, until it is purged."""
    mount.mount(QUIET)
    run = mount.path / "exp"
    train_and_follow(mount, "torch_replace", run, 3)
    # Cannot be compressed: what it takes in the store is seen.
    (run / "extra.bin").write_bytes(os.urandom(4 << 20))
    (run / "notes").mkdir()
    (run / "notes/log.txt").write_text("kept\n")
    mount.run("snapshot", str(run))
    before = contents(run)
    subprocess.run(["rm", "-rf", str(run)], check=True)
    assert not run.exists() and not os.listdir(mount.path)

    history = mount.path / ".snapshots/.runs/exp"
    assert contents(history / "latest") == before
    assert [torch.load(history / f"{number:06}/model.pt")["step"] for number in (1, 2, 3)] == [1, 2, 3]
    subprocess.run(["cp", "-a", f"{history}/latest/.", str(run)], check=True)
    assert contents(run) == before

    subprocess.run(["chmod", "-R", "u+w", str(run)], check=True)
    subprocess.run(["rm", "-rf", str(run)], check=True)
    held = mount.seal()["stored_bytes"]
    mount.run("purge", str(run), "--yes")
    mount.run("gc", str(mount.path))
    left = mount.status()["stored_bytes"]
    assert held > 4 << 20 > left, f"{held} bytes were stored, {left} are left"
    assert not (history / "000001").exists()


def contents(folder: Path) -> dict:
    """Digest, time and owner of everything below a folder. Versions have no write bits."""
    kept = ("sha256", "size", "mtime_ns", "owner", "target")
    return {name: {key: entry[key] for key in kept if key in entry} for name, entry in witness.tree(folder).items()}


@passthrough_on
def test_nobody_sees_the_history_who_does_not_ask(mount, tmp_path):
    """Tools that walk a run find the files of the training and nothing else."""
    mount.mount(QUIET)
    run = mount.path / "exp"
    train_and_follow(mount, "hf_trainer", run, 3)
    assert (run / ".snapshots/latest/checkpoint-6").is_dir(), "there is a history to be seen"
    walked = sorted(os.path.join(top, name) for top, _, names in os.walk(mount.path, followlinks=True) for name in names)
    assert {Path(path).relative_to(run).parts[0] for path in walked} >= {"checkpoint-4", "checkpoint-6"}
    expected = {path: os.lstat(path).st_size for path in walked}

    found = subprocess.run(["find", str(mount.path), "-type", "f"], capture_output=True, text=True, check=True)
    assert sorted(found.stdout.splitlines()) == walked and not found.stderr
    globbed = glob.glob(f"{mount.path}/**", recursive=True, include_hidden=True)
    assert sorted(path for path in globbed if os.path.isfile(path)) == walked
    used = subprocess.run(["du", "-s", "-b", str(mount.path)], capture_output=True, text=True, check=True)
    folders = [os.lstat(path).st_size for path in globbed if os.path.isdir(path)]
    assert int(used.stdout.split()[0]) == sum(expected.values()) + sum(folders)
    subprocess.run(["rsync", "-a", f"{mount.path}/", str(tmp_path / "copy")], check=True)
    assert contents(tmp_path / "copy") == contents(mount.path)
    assert get_last_checkpoint(str(run)) == str(run / "checkpoint-6")
    for path in [*walked, *globbed, *map(str, (tmp_path / "copy").rglob("*"))]:
        assert ".snapshots" not in path, path


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
    return subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True).stdout.strip()


@passthrough_on
def test_which_code_wrote_it(mount, tmp_path):
    """Each version tells the script, who ran it where, and the state of the code."""
    mount.mount(QUIET)
    run, code = mount.path / "exp", tmp_path / "code"
    code.mkdir()
    script = code / "train_it.py"
    shutil.copy(SCRIPT, script)
    git(code, "init", "-q", "-b", "trunk")
    git(code, "add", ".")
    git(code, "commit", "-q", "-m", "first")
    first = git(code, "rev-parse", "HEAD")
    train_and_follow(mount, "torch_in_place", run, 2, script=script)
    with open(script, "a") as file:
        file.write("# another learning rate\n")
    train_and_follow(mount, "torch_in_place", run, 1, script=script, RESUME=run / "model.pt")
    git(code, "commit", "-q", "-a", "-m", "second")
    second = git(code, "rev-parse", "HEAD")
    train_and_follow(mount, "torch_in_place", run, 1, script=script, RESUME=run / "model.pt")

    told = [version["provenance"] for version in log(mount, run)]
    assert [(each["git_commit"], each["git_dirty"]) for each in told] == [
        (first, False), (first, False), (first, True), (second, False),
    ]
    for each in told:
        assert each["script"] == str(script)
        assert (each["user"], each["host"]) == (pwd.getpwuid(os.getuid()).pw_name, socket.gethostname())
        assert (each["git_branch"], each["cwd"], each["args"]) == ("trunk", str(code), None)
    shown = mount.run("log", str(run))
    assert f"train_it.py {told[0]['user']}@{told[0]['host']} {first[:10]}*" in shown, shown
    assert json.dumps(told).count(str(run)) == 0, "arguments are only recorded when asked for"

"""The daemon in one container, the trainer in another that has no privilege at all; the mount reaches it by propagation.

Both containers have the same folder of the host: the daemon mounts in a directory below it, the trainer sees what is
mounted there. The trainer's side is read-only but for the mount, so that nothing is written beside it while there is none.
"""

import pytest

from engine import (
    GONE,
    MOUNTING,
    POWERLESS,
    PYTHON,
    TRAINER,
    TRAINER_UID,
    Container,
    Ground,
    docker,
    eventually,
    shown,
    userland,
)

RUN = "/shared/checkpoints/run"
STOP_SECONDS = 15


class Pair:
    """A daemon that is mounted, and trainers."""

    def __init__(self, ground: Ground, passthrough: str):
        self.ground, self.folder = ground, ground.shared_folder()
        shared = f"type=bind,source={self.folder},target=/shared,bind-propagation=rshared"
        # hot_cache=0: what is sealed is read from chunks.
        options = f"allow_other,settle=200ms,hot_cache=0,passthrough={passthrough}"
        command = ["mount", "--foreground", "--mkdir", "-o", options, "/store", "/shared/checkpoints"]
        flags = [*MOUNTING, "-v", f"{ground.volume()}:/store", "--mount", shared]
        self.daemon = ground.container(flags, command)
        self.start()
        self.daemon.told("install", "-d", "-o", str(TRAINER_UID), RUN)

    def start(self) -> None:
        """Starts the daemon, again where it was stopped or killed, and waits for its mount."""
        self.daemon.start()
        check = ("ckptfs", "status", "--check", "/shared/checkpoints")
        eventually("the daemon mounts", lambda: self.daemon.run(*check).returncode == 0)

    def trainer(self, *command: str) -> Container:
        """A container without privileges, started, whose only program is `command`."""
        flags = [*POWERLESS, "--no-healthcheck", *userland(), *shown(self.folder, "/shared")]
        container = self.ground.container([*flags, "--entrypoint", command[0]], list(command[1:]))
        container.start()
        return container

    def idle(self) -> Container:
        """Such a container that waits for commands."""
        return self.trainer("/usr/bin/sleep", "infinity")


def act(name: str, *more: str, writer: str = "plain") -> list[str]:
    """The command line of the trainer."""
    return [PYTHON, TRAINER, writer, name, RUN, *more]


@pytest.fixture(params=["on", "off"], ids=lambda value: f"passthrough-{value}")
def pair(request: pytest.FixtureRequest, ground: Ground) -> Pair:
    """One with each kind of serving."""
    return Pair(ground, request.param)


def test_a_trainer_saves_is_killed_in_the_middle_and_resumes_from_its_history(
    pair: Pair, request: pytest.FixtureRequest
) -> None:
    # Once with torch, which takes seconds to be imported, and once with Python alone.
    writer = "torch" if "passthrough-on" in request.node.name else "plain"
    first = pair.trainer(*act("train", "3", writer=writer))
    assert first.ended() == 0, first.said()
    assert first.said().split("\n")[-2] == "saved 3"
    torn = pair.trainer(*act("torn"))
    eventually("a save is under way", lambda: "torn" in torn.said())
    torn.kill()
    # It becomes a version too, marked, and is not what resuming finds.
    log = ("ckptfs", "log", RUN)
    eventually("the torn save is a version", lambda: len(pair.daemon.told(*log).splitlines()) == 5)
    assert "good" not in pair.daemon.told(*log).splitlines()[1]
    again = pair.trainer(*act("resume", writer=writer))
    assert again.ended() == 0 and again.said() == "resumed 3\n", again.said()


def test_a_daemon_that_is_stopped_and_one_that_is_killed_come_back_under_a_trainer(pair: Pair) -> None:
    trainer = pair.idle()
    save = ("/usr/bin/touch", f"{RUN}/marker")

    def saves_on(step: int) -> None:
        assert trainer.told(*act("resume")) == f"resumed {step}"
        assert trainer.told(*act("train", "1")) == f"saved {step + 1}"

    trainer.told(*act("train", "2"))
    # docker stop: everything is durable, the mount goes, and nothing is written below it.
    assert pair.daemon.stop(STOP_SECONDS) == 0, pair.daemon.said()
    unseen = trainer.run("/usr/bin/ls", "/shared/checkpoints")
    assert unseen.returncode != 0 and "Permission denied" in unseen.stderr, unseen
    gap = docker("exec", "--user", "0", trainer.id, "/usr/bin/mkdir", RUN)
    assert gap.returncode != 0 and "Read-only file system" in gap.stderr, gap
    assert list((pair.folder / "checkpoints").iterdir()) == []
    pair.start()
    saves_on(2)
    # SIGKILL: the dead mount stays in the trainer's namespace and says so, until the next daemon's takes its place.
    pair.daemon.kill()
    dead = trainer.run(*save)
    assert dead.returncode != 0 and GONE in dead.stderr, dead
    pair.start()
    saves_on(3)
    trainer.told(*save)


def test_a_file_that_is_open_over_a_kill_is_told_or_goes_on(pair: Pair, request: pytest.FixtureRequest) -> None:
    holder = pair.trainer(*act("hold"))
    eventually("a file is open", lambda: "held" in holder.said())
    pair.daemon.kill()
    eventually("the trainer hears of it", lambda: f"waiting: [Errno 107] {GONE}" in holder.said())
    pair.start()
    pair.daemon.told("touch", f"{RUN}/go")
    assert holder.ended() == 0, holder.said()
    size = ("stat", "--format", "%s", f"{RUN}/held")
    if "passthrough-off" in request.node.name:
        # The open file is one of the daemon that is gone.
        assert f"failed: [Errno 107] {GONE}" in holder.said(), holder.said()
        assert pair.daemon.told(*size) == "1000000"
    else:
        # The kernel writes the file of the disk below without any daemon.
        # What the new mount knows of the size may be a second old.
        assert "wrote 1000000" in holder.said(), holder.said()
        eventually("the whole file is there", lambda: pair.daemon.told(*size) == "2000000")

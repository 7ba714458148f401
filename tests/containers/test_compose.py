"""The compose file of docs/containers.md, its two services started as compose does."""

import re
from pathlib import Path

import yaml

from engine import (
    MOUNTING,
    POWERLESS,
    PYTHON,
    REPOSITORY,
    TRAINER,
    TRAINER_UID,
    Ground,
    eventually,
    shown,
    userland,
)

OFTEN = ["--health-interval", "300ms"]


def services() -> dict:
    """The services of the page's compose file."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs/containers.md").read_text(), re.DOTALL)
    return yaml.safe_load(text)["services"]


def bind(service: dict) -> dict:
    """The bind mount of a service."""
    return next(volume for volume in service["volumes"] if isinstance(volume, dict))


def test_the_compose_file_serves_a_trainer(ground: Ground) -> None:
    daemon, trainer = services()["ckptfs"], services()["trainer"]
    folder: Path = ground.shared_folder()
    asked = [flag for device in daemon["devices"] for flag in ("--device", device)]
    asked += [flag for name in daemon["cap_add"] for flag in ("--cap-add", name)]
    assert asked == MOUNTING[: len(asked)], "the page asks for other privileges than the tests give"
    name, store = daemon["volumes"][0].split(":")
    assert name == "checkpoints"
    shared = f"type=bind,source={folder},target={bind(daemon)['target']},bind-propagation={bind(daemon)['bind']['propagation']}"
    flags = [*MOUNTING, *OFTEN, "-v", f"{ground.volume()}:{store}", "--mount", shared]
    served = ground.container(flags, daemon["command"])
    served.start()
    assert trainer["depends_on"]["ckptfs"]["condition"] == "service_healthy"
    eventually("the service is healthy", lambda: served.state("{{.State.Health.Status}}") == "healthy")
    run = trainer["command"][-1]
    served.told("install", "-d", "-o", str(TRAINER_UID), run)
    assert bind(trainer)["read_only"] and bind(trainer)["bind"] == {"propagation": "rslave"}
    flags = [*POWERLESS, "--no-healthcheck", *userland(), *shown(folder, bind(trainer)["target"])]
    training = ground.container([*flags, "--entrypoint", PYTHON], [TRAINER, "plain", "train", run, "1"])
    training.start()
    assert training.ended() == 0 and training.said() == "saved 1\n", training.said()
    assert served.stop(int(daemon["stop_grace_period"].removesuffix("s"))) == 0, served.said()

"""The image by itself: what it says where something is missing, and its health."""

import json
from pathlib import Path

import pytest

from engine import MOUNTING, Ground, eventually

DEVICE = ["--device", "/dev/fuse"]
SYS_ADMIN = ["--cap-add", "SYS_ADMIN"]
BOTH = "--device /dev/fuse --cap-add SYS_ADMIN"
# Without its permission in the device cgroup, a device node is of no use.
NODE_ALONE = ["-v", "/dev/fuse:/dev/fuse"]


def refused(ground: Ground, flags: list[str]) -> str:
    """The one line with which mounting with these flags fails."""
    container = ground.container(flags, ["mount", "--foreground", "/store", "/mnt"])
    container.start()
    assert container.ended() == 1, container.said()
    lines = container.said().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "/dev/fuse is missing"),
        (SYS_ADMIN, "/dev/fuse is missing"),
        ([*SYS_ADMIN, *NODE_ALONE], "/dev/fuse may not be opened here"),
        (DEVICE, "mounting needs CAP_SYS_ADMIN"),
    ],
    ids=["nothing", "no-device", "device-not-allowed", "no-sys-admin"],
)
def test_what_is_missing_is_one_line_with_the_flags_that_cure_it(ground: Ground, flags: list[str], said: str) -> None:
    line = refused(ground, flags)
    assert said in line and BOTH in line, line


# EPERM as seccomp profiles give, EACCES as AppArmor does.
@pytest.mark.parametrize("errno", [1, 13], ids=["EPERM", "EACCES"])
def test_a_profile_that_forbids_mounting_is_named(ground: Ground, tmp_path: Path, errno: int) -> None:
    profile = tmp_path / "profile.json"
    deny = {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [deny]}))
    line = refused(ground, [*MOUNTING, "--security-opt", f"seccomp={profile}"])
    assert "CAP_SYS_ADMIN is there" in line and "--security-opt apparmor=unconfined" in line, line


def test_the_image_knows_whether_it_is_healthy(ground: Ground) -> None:
    often = ["--health-interval", "300ms", "--health-start-period", "1ms", "--health-retries", "1"]
    health = "{{.State.Health.Status}}"
    mounted = ground.container([*MOUNTING, *often], ["mount", "--foreground", "--mkdir", "/store", "/mnt/checkpoints"])
    # The same image where nothing is mounted.
    idle = ground.container([*often, "--entrypoint", "sleep"], ["infinity"])
    mounted.start()
    idle.start()
    eventually("the mount is healthy", lambda: mounted.state(health) == "healthy")
    eventually("nothing mounted is unhealthy", lambda: idle.state(health) == "unhealthy")
    log = json.loads(idle.state("{{json .State.Health.Log}}"))
    assert log[-1]["Output"].strip() == "ckptfs: nothing is mounted here", log

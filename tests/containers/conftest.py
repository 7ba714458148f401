"""What a test makes of containers, and the end of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Ground, docker


@pytest.fixture(scope="session", autouse=True)
def image() -> None:
    """The engine answers and has the image under test, named by CKPTFS_IMAGE."""
    name = os.environ.get("CKPTFS_IMAGE", "")
    done = docker("image", "inspect", name)
    assert done.returncode == 0, f"CKPTFS_IMAGE is '{name}': run scripts/docker-test.sh, which makes it: {done.stderr}"
    assert os.geteuid() == 0, "these tests make shared mounts: run them as root"


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """An empty one, cleared whatever the test does."""
    owned = Ground(tmp_path)
    yield owned
    owned.clear()

"""The mount of a test, once with passthrough and once without."""

import gc
import os

import pytest

# Before TensorFlow: loaded after it, what torch.optim imports lazily (triton) crashes the interpreter.
import torch._dynamo  # noqa: F401

from listing import Listing
from mount import Mount

LISTING = Listing()


@pytest.fixture(scope="session")
def program() -> str:
    """The ckptfs program under test, named by CKPTFS_BIN."""
    path = os.environ.get("CKPTFS_BIN", "")
    assert os.access(path, os.X_OK), f"CKPTFS_BIN is '{path}': set it to the ckptfs program (scripts/test.sh does)"
    return path


@pytest.fixture(params=["on", "off"], ids=lambda value: f"passthrough-{value}")
def mount(request, program, tmp_path):
    """An own store that is not mounted yet; unmounted again whatever the test does."""
    owned = Mount(program, tmp_path, request.param)
    yield owned
    owned.drop()


def pytest_collection_finish() -> None:
    """Takes what the frameworks have loaded out of garbage collection, which the tests ask for often."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logreport(report) -> None:
    """Notes what became of the writers."""
    LISTING.add(report)


def pytest_terminal_summary(terminalreporter) -> None:
    """The list of writers."""
    if lines := LISTING.lines():
        terminalreporter.section("writers")
        terminalreporter.write("\n".join([*lines, ""]))

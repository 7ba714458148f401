"""Whatever a framework has saved is there again bit for bit: at once, after a remount, sealed, and rewritten."""

import gc

import pytest

import witness
import writers_files
import writers_numpy
import writers_tensorflow
import writers_torch
from mount import NEVER, SETTLE

WRITERS = [*writers_torch.WRITERS, *writers_numpy.WRITERS, *writers_tensorflow.WRITERS, *writers_files.WRITERS]
# Files below this may stay hot for good, so only from here on must sealing have moved bytes.
SEALED_FROM_BYTES = 1 << 20


@pytest.fixture(params=WRITERS, ids=lambda writer: writer.name)
def writer(request, record_property):
    """One way of saving."""
    record_property("writer", request.param.name)
    return request.param


def verify(mount, writer, saved, files):
    """Every byte and attribute is as it was, and the framework loads what it has saved."""
    # A mapping that is only garbage would keep the mount busy.
    gc.collect()
    assert witness.tree(mount.path) == files
    for path in mount.path.rglob("*"):
        if path.is_file():
            witness.forget(path)
    assert writer.load(mount.path) == saved
    gc.collect()


def save(mount, writer, generation):
    """Saves, and checks at once. Returns what must hold from now on."""
    saved = writer.save(mount.path, generation)
    assert saved, "a writer that saves nothing proves nothing"
    files = witness.tree(mount.path)
    verify(mount, writer, saved, files)
    return saved, files


def check_sealed(status, files):
    """Nothing large is hot any more: what is read now comes from chunks."""
    if witness.largest(files) >= SEALED_FROM_BYTES:
        assert status["stored_bytes"] > 0, f"nothing was sealed: {status}"
        assert status["hot_bytes"] < witness.largest(files), f"a large file stayed hot: {status}"


def test_hot_then_remounted(mount, writer):
    """Nothing is sealed here: a remount finds the hot files again."""
    mount.mount(NEVER)
    saved, files = save(mount, writer, 0)
    mount.remount(NEVER)
    verify(mount, writer, saved, files)


def test_sealed_remounted_and_saved_again(mount, writer):
    """Reads come from chunks, and the next save goes over sealed files."""
    mount.mount(SETTLE)
    for generation in (0, 1):
        saved, files = save(mount, writer, generation)
        check_sealed(mount.seal(), files)
        verify(mount, writer, saved, files)
        mount.remount(SETTLE)
        verify(mount, writer, saved, files)


def test_unmount_wait_seals(mount, writer):
    """`unmount --wait` leaves nothing to seal for the next mount."""
    mount.mount(NEVER)
    saved, files = save(mount, writer, 0)
    mount.unmount(wait=True)
    mount.mount(NEVER)
    check_sealed(mount.status(), files)
    verify(mount, writer, saved, files)

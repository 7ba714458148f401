"""TensorFlow and Keras: checkpoints with rotation, SavedModel, Keras files and event files."""

import os
from pathlib import Path

# Before the import: its notices would hide a failure.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy
import tensorflow as tf

from witness import digest
from writers import Digests, Writer

MAX_TO_KEEP = 3


class Net(tf.Module):
    """A module with weights of about 2 MB and a counter."""

    def __init__(self, generation: int):
        super().__init__()
        random = numpy.random.default_rng(generation)
        self.weights = tf.Variable(random.standard_normal((512, 1024), dtype=numpy.float32))
        self.bias = tf.Variable(random.standard_normal(1024, dtype=numpy.float32))
        self.step = tf.Variable(generation, dtype=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec([None, 512], tf.float32)])
    def __call__(self, batch):
        return batch @ self.weights + self.bias


def digests(module) -> Digests:
    parts = {"weights": module.weights, "bias": module.bias, "step": module.step}
    return {name: digest(numpy.asarray(variable.numpy())) for name, variable in parts.items()}


def manager(folder: Path, generation: int) -> Digests:
    """More saves than are kept, so that old ones are deleted; continued over the ones that are there."""
    for save in range(MAX_TO_KEEP + 1):
        net = Net(10 * generation + save)
        rotation = tf.train.CheckpointManager(tf.train.Checkpoint(net=net), str(folder), max_to_keep=MAX_TO_KEEP)
        path = rotation.save(checkpoint_number=10 * generation + save)
        assert tf.train.latest_checkpoint(str(folder)) == path
    indexes = sorted(folder.glob("ckpt-*.index"))
    assert len(indexes) == MAX_TO_KEEP, f"{indexes} are there with max_to_keep={MAX_TO_KEEP}"
    return digests(net)


def restore(folder: Path) -> Digests:
    net = Net(999)
    tf.train.Checkpoint(net=net).restore(tf.train.latest_checkpoint(str(folder))).assert_consumed()
    return digests(net)


def saved_model(folder: Path, generation: int) -> Digests:
    net = Net(generation)
    tf.saved_model.save(net, str(folder / "export"))
    return digests(net) | {"out": digest(net(tf.ones([2, 512])).numpy())}


def load_saved_model(folder: Path) -> Digests:
    net = tf.saved_model.load(str(folder / "export"))
    return digests(net) | {"out": digest(net(tf.ones([2, 512])).numpy())}


def keras_model(generation: int):
    keras.utils.set_random_seed(generation)
    model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(1024), keras.layers.Dense(8)])
    model.compile(optimizer=keras.optimizers.Adam(), loss="mse")
    return model


def keras_digests(model) -> Digests:
    return {f"{place}-{weight.name}": digest(numpy.asarray(weight)) for place, weight in enumerate(model.weights)}


def keras_file(folder: Path, generation: int) -> Digests:
    model = keras_model(generation)
    model.fit(numpy.ones((8, 256), "float32"), numpy.zeros((8, 8), "float32"), verbose=0)
    model.save(folder / "model.keras")
    return keras_digests(model)


def load_keras_file(folder: Path) -> Digests:
    return keras_digests(keras.models.load_model(folder / "model.keras"))


def keras_weights(folder: Path, generation: int) -> Digests:
    """HDF5: written at random offsets, an existing file opened for update, under flock."""
    model = keras_model(generation)
    model.save_weights(folder / "model.weights.h5")
    return keras_digests(model)


def load_keras_weights(folder: Path) -> Digests:
    model = keras_model(99)
    model.load_weights(folder / "model.weights.h5")
    return keras_digests(model)


def events(folder: Path, generation: int) -> Digests:
    """An event file of each run, held open and read by a second handle while it grows."""
    expected = read_events(folder)
    run = f"logs-{generation}"
    writer = tf.summary.create_file_writer(str(folder / run))
    try:
        with writer.as_default():
            for step in range(20):
                value = numpy.float32(1.0 / (1 + step + generation))
                tf.summary.write("loss", value, step=step)
                writer.flush()
                expected[f"{run}/{step}"] = repr(float(value))
                assert len(read_events(folder, run)) == step + 1
    finally:
        writer.close()
    return expected


def read_events(folder: Path, run: str = "logs-*") -> Digests:
    found: Digests = {}
    for path in sorted(folder.glob(f"{run}/events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found[f"{path.parent.name}/{event.step}"] = repr(float(tf.make_ndarray(value.tensor)))
    return found


WRITERS = [
    Writer("tf-checkpoint-manager", manager, restore),
    Writer("tf-saved-model", saved_model, load_saved_model),
    Writer("keras-file", keras_file, load_keras_file),
    Writer("keras-weights-h5", keras_weights, load_keras_weights),
    Writer("tf-events", events, read_events),
]

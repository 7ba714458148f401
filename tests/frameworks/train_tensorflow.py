"""Trainings with TensorFlow's strategies and with the callbacks of Keras that save.

Each `train` makes the saves that its job asks for and goes on from `job.resume`; each `load` tells what save `number` in
a folder holds. Keras computes in bfloat16 or float16 and keeps its weights in float32.
"""

import json
import os
import shutil
from pathlib import Path

import keras
import numpy
import tensorflow as tf

from trainers import Digests, Job
from witness import digest

KEEP = 2
WIDTH = 400
BATCHES = 2


def of(variables) -> Digests:
    """Digests by place; names of variables are not the same in every process."""
    return {f"{place} {len(variables)}": digest(numpy.asarray(each)) for place, each in enumerate(variables)}


class Net(tf.Module):
    """Two layers and the momentum of their weights, about 1 MB; the forward pass is in bfloat16."""

    def __init__(self):
        super().__init__()
        random = numpy.random.default_rng(0)
        self.first = tf.Variable(random.standard_normal((WIDTH, WIDTH), dtype="float32") / WIDTH**0.5)
        self.second = tf.Variable(random.standard_normal((WIDTH, 8), dtype="float32"))
        self.momentum = tf.Variable(tf.zeros((WIDTH, WIDTH)))
        self.half = tf.Variable(tf.zeros((WIDTH, 8), tf.float16))
        self.step = tf.Variable(0, dtype=tf.int64)

    def train(self, batch) -> None:
        """One step, in which all replicas agree on the gradients."""
        with tf.GradientTape() as tape:
            hidden = tf.tanh(tf.cast(batch, tf.bfloat16) @ tf.cast(self.first, tf.bfloat16))
            out = tf.cast(hidden @ tf.cast(self.second, tf.bfloat16), tf.float32)
            loss = tf.reduce_mean(tf.square(out))
        gradients = tape.gradient(loss, [self.first, self.second])
        gradients = tf.distribute.get_replica_context().all_reduce("mean", gradients)
        self.momentum.assign(0.9 * self.momentum + gradients[0])
        self.first.assign_sub(0.01 * self.momentum)
        self.second.assign_sub(0.01 * gradients[1])
        self.half.assign(tf.cast(self.second, tf.float16))
        self.step.assign_add(1)

    def steps(self) -> int:
        return int(self.step.numpy())

    def digests(self) -> Digests:
        return of([each.numpy() for each in (self.first, self.second, self.momentum, self.half, self.step)])


def train_with(job: Job, strategy: tf.distribute.Strategy, folder: Path, after) -> None:
    """A custom loop with a CheckpointManager; `after` follows each save."""
    with strategy.scope():
        net = Net()
    checkpoint = tf.train.Checkpoint(net=net)
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=KEEP)
    if job.resume:
        checkpoint.restore(tf.train.latest_checkpoint(str(job.resume))).assert_existing_objects_matched()
        job.resumed(net.steps(), net.digests())
    step = tf.function(lambda batch: strategy.run(net.train, (batch,)))
    while net.steps() < job.saves:
        step(tf.random.stateless_normal((8, WIDTH), (net.steps(), job.seed)))
        number = net.steps()
        job.saving(number, net.digests())
        manager.save(checkpoint_number=number)
        after()
        job.saved(number)


def train_mirrored(job: Job) -> None:
    """MirroredStrategy with two replicas in one process."""
    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    train_with(job, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), job.folder, lambda: None)


def train_multi_worker(job: Job) -> None:
    """MultiWorkerMirroredStrategy: the worker must save when the chief does, beside it, and removes what it has saved."""
    kinds = ("chief", "worker")
    addresses = {kind: [f"127.0.0.1:{port}"] for kind, port in zip(kinds, job.ports, strict=True)}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": addresses, "task": {"type": kinds[job.rank], "index": 0}})
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    assert strategy.num_replicas_in_sync == 2
    if job.rank == 0:
        train_with(job, strategy, job.folder, lambda: None)
    else:
        temporary = job.folder / f"workertemp_{job.rank}"
        train_with(job, strategy, temporary, lambda: tf.io.gfile.rmtree(str(temporary)))


def load_tensorflow(folder: Path, number: int) -> Digests:
    net = Net()
    checkpoint = tf.train.Checkpoint(net=net)
    checkpoint.restore(str(folder / f"ckpt-{number}")).assert_existing_objects_matched()
    return net.digests()


def keras_model(policy: str = "mixed_float16") -> keras.Model:
    keras.mixed_precision.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(WIDTH, "tanh"), keras.layers.Dense(1, dtype="float32")])
    # A scale that no step overflows with: each counts.
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), initial_scale=8.0) if "float16" == policy[-7:] else "adam"
    model.compile(optimizer, "mse", jit_compile=False)
    return model


class Before(keras.callbacks.Callback):
    """Says what the callback after it will save."""

    def __init__(self, job: Job, each: str):
        super().__init__()
        self.job, self.each = job, each

    def act(self, number: int) -> None:
        self.job.saving(number, of_model(self.model))

    def on_epoch_end(self, epoch, logs=None):
        if self.each == "epoch":
            self.act(epoch + 1)

    def on_train_batch_end(self, batch, logs=None):
        if self.each == "batch":
            self.act(int(self.model.optimizer.iterations))


class After(Before):
    """Says that the callback before it has saved."""

    def act(self, number: int) -> None:
        self.job.saved(number)


def fit(job: Job, model: keras.Model, keep: keras.callbacks.Callback, done: int, each: str = "epoch") -> None:
    inputs = numpy.random.default_rng(job.seed).normal(size=(8 * BATCHES, WIDTH)).astype("float32")
    batches = {"epoch": BATCHES, "batch": 1}[each]
    callbacks = [Before(job, each), keep, After(job, each)]
    model.fit(inputs[: 8 * batches], inputs[: 8 * batches, :1], 8, epochs=job.saves, initial_epoch=done, verbose=0, callbacks=callbacks)


def of_model(model: keras.Model) -> Digests:
    """Weights and what the optimizer keeps."""
    return of([*model.weights, *model.optimizer.variables])


def with_weights(model: keras.Model, path: Path) -> keras.Model:
    """The model with what a file of weights holds, the optimizer's too, which it must have made before."""
    model.optimizer.build(model.trainable_variables)
    model.load_weights(path)
    return model


def train_keras_file(job: Job) -> None:
    """ModelCheckpoint of the whole model, over itself."""
    train_model(job, BATCHES, "epoch")


def train_keras_freq(job: Job) -> None:
    """ModelCheckpoint after so many batches (save_freq)."""
    train_model(job, 1, "batch", save_freq=1)


def train_model(job: Job, batches: int, each: str, **options) -> None:
    """A save after so many batches."""
    model = keras.models.load_model(job.resume / "model.keras") if job.resume else keras_model()
    done = int(model.optimizer.iterations) // batches
    if job.resume:
        job.resumed(done, of_model(model))
    fit(job, model, keras.callbacks.ModelCheckpoint(str(job.folder / "model.keras"), **options), done, each)


def load_keras_file(folder: Path, number: int) -> Digests:
    return of_model(keras.models.load_model(folder / "model.keras"))


def train_keras_weights(job: Job) -> None:
    """ModelCheckpoint of the weights, a file an epoch; Keras removes none."""
    model, done = keras_model("mixed_bfloat16"), 0
    if job.resume:
        newest = max(job.resume.glob("*.weights.h5"))
        with_weights(model, newest)
        done = int(newest.name.split(".")[0].split("-")[1])
        job.resumed(done, of_model(model))
    path = str(job.folder / "epoch-{epoch:02d}.weights.h5")
    fit(job, model, keras.callbacks.ModelCheckpoint(path, save_weights_only=True), done)


def load_keras_weights(folder: Path, number: int) -> Digests:
    return of_model(with_weights(keras_model("mixed_bfloat16"), folder / f"epoch-{number:02d}.weights.h5"))


def train_keras_backup(job: Job) -> None:
    """BackupAndRestore, whose folder is what it goes on from: a version is copied back into it."""
    if job.resume:
        shutil.copytree(job.resume, job.folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    model = keras_model()
    keep = keras.callbacks.BackupAndRestore(str(job.folder), delete_checkpoint=False)

    class Found(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            job.resumed(int(self.model.optimizer.iterations) // BATCHES, of_model(self.model))

    if job.resume:
        keep = keras.callbacks.CallbackList([keep, Found()], model=model)
    fit(job, model, keep, 0)


def load_keras_backup(folder: Path, number: int) -> Digests:
    return of_model(with_weights(keras_model(), folder / "latest.weights.h5"))

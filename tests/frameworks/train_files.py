"""Trainings whose state is one file that is changed in place: HDF5 that grows, and a numpy array that is mapped."""

import shutil
from pathlib import Path

import h5py
import numpy

from trainers import Digests, Job
from witness import digest

WIDTH = 512


class Model:
    """Weights of 1 MB that learn the identity, in float16 and float32, and the loss of each step."""

    def __init__(self, weights: numpy.ndarray, losses: list[float]):
        self.weights, self.losses = weights, losses

    def train(self, seed: int) -> None:
        batch = numpy.random.default_rng((seed, len(self.losses))).normal(size=(8, WIDTH)).astype("float32")
        error = batch @ self.weights - batch
        self.losses.append(float(numpy.square(error).mean()))
        # Some rows only: the rest of the file stays as it is.
        rows = numpy.random.default_rng(len(self.losses)).permutation(WIDTH)[:100]
        self.weights[rows] -= 0.001 * (batch.T @ error)[rows]

    def digests(self) -> Digests:
        losses = numpy.array(self.losses, "float64")
        half = self.weights.astype("float16")
        return {"weights": digest(self.weights), "half": digest(half), "losses": digest(losses)}


def begin() -> Model:
    return Model(numpy.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype("float32"), [])


def train(job: Job, name: str, read, create, update) -> None:
    """Creates the file with the first save, and updates it with each of the others."""
    model = begin()
    if job.resume:
        shutil.copyfile(job.resume / name, job.folder / name)
        model = read(job.folder / name)
        job.resumed(len(model.losses), model.digests())
    while len(model.losses) < job.saves:
        model.train(job.seed)
        job.saving(len(model.losses), model.digests())
        (update if (job.folder / name).exists() else create)(job.folder / name, model)
        job.saved(len(model.losses))


def train_h5py_append(job: Job) -> None:
    """A data set that grows, and rows at random places of two others."""
    train(job, "state.h5", read_h5py, create_h5py, update_h5py)


def create_h5py(path: Path, model: Model) -> None:
    with h5py.File(path, "w") as file:
        file["weights"] = model.weights
        file["half"] = model.weights.astype("float16")
        file.create_dataset("losses", data=numpy.array(model.losses), maxshape=(None,), chunks=(64,))


def update_h5py(path: Path, model: Model) -> None:
    with h5py.File(path, "a") as file:
        old = file["weights"][:]
        for row in numpy.random.default_rng(0).permutation(numpy.flatnonzero((old != model.weights).any(axis=1))):
            file["weights"][row] = model.weights[row]
            file["half"][row] = model.weights[row].astype("float16")
        file["losses"].resize((len(model.losses),))
        file["losses"][-1] = model.losses[-1]


def read_h5py(path: Path) -> Model:
    with h5py.File(path) as file:
        model = Model(file["weights"][:], list(file["losses"][:]))
        assert digest(file["half"][:]) == model.digests()["half"]
    return model


def load_h5py(folder: Path, number: int) -> Digests:
    return read_h5py(folder / "state.h5").digests()


def train_memmap(job: Job) -> None:
    """Stores through a shared mapping, which is made anew for each save; the losses lie behind the weights."""
    train(job, "state.npy", read_memmap, create_memmap, update_memmap)


def create_memmap(path: Path, model: Model) -> None:
    numpy.save(path, numpy.zeros((WIDTH + 1, WIDTH), "float32"))
    update_memmap(path, model)


def update_memmap(path: Path, model: Model) -> None:
    mapped = numpy.load(path, mmap_mode="r+")
    mapped[:WIDTH] = model.weights
    mapped[WIDTH].view("float64")[: len(model.losses)] = model.losses
    mapped.flush()


def read_memmap(path: Path) -> Model:
    mapped = numpy.load(path, mmap_mode="r")
    losses = mapped[WIDTH].view("float64")
    return Model(numpy.array(mapped[:WIDTH]), list(losses[: numpy.count_nonzero(losses)]))


def load_memmap(folder: Path, number: int) -> Digests:
    return read_memmap(folder / "state.npy").digests()


def train_tensorboard(job: Job) -> None:
    """Scalars as users of torch write them, flushed one by one, behind those that are there."""
    from torch.utils.tensorboard import SummaryWriter

    done = max(scalars(job.folder / "logs"), default=-1) if (job.folder / "logs").exists() else -1
    writer = SummaryWriter(str(job.folder / "logs"))
    for step in range(done + 1, job.saves):
        writer.add_scalar("loss", 1 / (1 + step), step)
        writer.flush()
        job.saved(step)


def scalars(folder: Path) -> dict[int, float]:
    """What TensorBoard itself reads."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {event.step: event.value for event in events.Scalars("loss")}

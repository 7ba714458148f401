"""A training with JAX that saves with Orbax's CheckpointManager, in the background, in bfloat16 and float32."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy
import orbax.checkpoint as ocp

from trainers import Digests, Job
from witness import digest

KEEP = 2
WIDTH = 256


def state_of() -> dict:
    first = jax.random.normal(jax.random.key(0), (WIDTH, WIDTH)) / WIDTH**0.5
    return {"weights": first.astype(jnp.bfloat16), "master": first, "momentum": jnp.zeros((WIDTH, WIDTH)), "step": jnp.int32(0)}


@jax.jit
def train_step(state: dict, seed: int) -> dict:
    batch = jax.random.normal(jax.random.key(2 * state["step"] + seed), (8, WIDTH)).astype(jnp.bfloat16)
    gradient = jax.grad(lambda weights: jnp.square(batch @ weights).astype(jnp.float32).mean())(state["weights"])
    momentum = 0.9 * state["momentum"] + gradient.astype(jnp.float32)
    master = state["master"] - 0.1 * momentum
    return {"weights": master.astype(jnp.bfloat16), "master": master, "momentum": momentum, "step": state["step"] + 1}


def digests(state: dict) -> Digests:
    return {name: digest(numpy.asarray(value)) for name, value in state.items()}


def train_orbax(job: Job) -> None:
    """The save goes on while the next step is trained."""
    state = state_of()
    if job.resume:
        number, state = restored(job.resume)
        job.resumed(number, digests(state))
    options = ocp.CheckpointManagerOptions(max_to_keep=KEEP, enable_async_checkpointing=True, cleanup_tmp_directories=True)
    with ocp.CheckpointManager(job.folder, options=options) as manager:
        for number in range(int(state["step"]) + 1, job.saves + 1):
            state = train_step(state, job.seed)
            job.saving(number, digests(state))
            manager.save(number, args=ocp.args.StandardSave(state))
            train_step(state, job.seed)
            manager.wait_until_finished()
            job.saved(number)


def restored(folder: Path, number: int | None = None) -> tuple[int, dict]:
    """The save of that number, or the newest, and its number."""
    with ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
        number = manager.latest_step() if number is None else number
        return number, manager.restore(number, args=ocp.args.StandardRestore(state_of()))


def load_orbax(folder: Path, number: int) -> Digests:
    return digests(restored(folder, number)[1])

"""Trainings of PyTorch with two gloo processes, and of DeepSpeed: what a user of each writes.

Each `train` makes the saves that its job asks for and goes on from `job.resume`; each `load` tells what save `number` in
a folder holds. Mixed precision is that of each: bfloat16 and float16.
"""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from trainers import Digests, Job
from writers_torch import digests

KEEP = 2
WIDTH = 512


def join(job: Job, backend: str = "gloo") -> None:
    """Makes this process one of the group of its training."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(job.ports[0]), "RANK": str(job.rank),
        "LOCAL_RANK": str(job.rank), "WORLD_SIZE": str(job.ranks),
    }
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group(backend, timeout=timedelta(seconds=60))


def model_of(dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """About 2 MB of weights."""
    return torch.nn.Sequential(
        torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, WIDTH)
    ).to(dtype)


def whole(state: dict) -> dict:
    """The tensors of all processes put together; every process must call it."""
    gather = torch.utils._pytree.tree_map_only
    return gather(DTensor, lambda tensor: tensor.full_tensor(), state)


def remove_old(folder: Path, pattern: str, number: int) -> None:
    """What a training script does about old checkpoints: those that fall out are removed, also what a kill has left of them."""
    for old in range(1, number - KEEP + 1):
        shutil.rmtree(folder / pattern.format(old), ignore_errors=True)


def fsdp(job: Job, save) -> None:
    """FSDP2 in bfloat16; `save` writes the state of a step."""
    join(job)
    model = model_of()
    for layer in (model[0], model[2], model):
        fully_shard(layer, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    step = 0

    def train() -> None:
        torch.manual_seed(1000 * step + 10 * job.seed + job.rank)
        model(torch.randn(8, WIDTH)).float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    if job.resume:
        train()
        step = max(int(path.name.split("_")[1]) for path in job.resume.glob("step_*") if (path / ".metadata").exists())
        state = sharded(model, optimizer)
        dcp.load(state, checkpoint_id=str(job.resume / f"step_{step}"))
        set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        job.resumed(step, flat(whole(sharded(model, optimizer))))
    while step < job.saves:
        step += 1
        train()
        state = sharded(model, optimizer)
        job.saving(step, flat(whole(state)))
        save(state, str(job.folder / f"step_{step}"))
        dist.barrier()
        if job.rank == 0:
            remove_old(job.folder, "step_{}", step)
        job.saved(step)
    dist.destroy_process_group()


def sharded(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """What FSDP gives to DCP, and a half precision copy of the first layer as exports have it."""
    weights, moments = get_state_dict(model, optimizer)
    return {"model": weights, "optimizer": moments, "half": weights["0.weight"].to(torch.float16)}


def train_dcp(job: Job) -> None:
    """torch.distributed.checkpoint.save by both processes."""
    fsdp(job, lambda state, path: dcp.save(state, checkpoint_id=path))


def train_dcp_async(job: Job) -> None:
    """The same in the background, in a group of its own, waited for before the next."""
    group = []

    def save(state: dict, path: str) -> None:
        group.append(group[0] if group else dist.new_group(backend="gloo"))
        dcp.async_save(state, checkpoint_id=path, process_group=group[0]).result()

    fsdp(job, save)


def load_dcp(folder: Path, number: int) -> Digests:
    """Every tensor, in one process, without knowing what was saved."""
    path = folder / f"step_{number}"
    metadata = dcp.FileSystemReader(str(path)).read_metadata().state_dict_metadata
    state = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype) if hasattr(entry, "size") else None
        for name, entry in metadata.items()
    }
    dcp.load(state, checkpoint_id=str(path))
    return flat(state)


def flat(state: dict) -> Digests:
    """Digests under the names that DCP gives to the leaves."""
    return {name.strip("/").replace("/", "."): value for name, value in digests(state).items()}


def train_ddp(job: Job) -> None:
    """DDP in float16 with a scaler. Each process has a file, and `latest` names the newest directory."""
    join(job)
    model = torch.nn.parallel.DistributedDataParallel(model_of())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu")
    step = 0
    if job.resume:
        step = int((job.resume / "latest").read_text().removeprefix("global_step"))
        state = torch.load(job.resume / f"global_step{step}" / f"rank_{job.rank:02}.pt")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"])
        job.resumed(step, of_rank(job.rank, state))
        torch.manual_seed(job.seed)
    while step < job.saves:
        step += 1
        with torch.autocast("cpu", torch.float16):
            loss = model(torch.randn(8, WIDTH)).float().square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        state = {
            "model": model.state_dict(), "optimizer": optimizer.state_dict(), "scaler": scaler.state_dict(),
            "half": model.module[0].weight.detach().half(), "rng": torch.get_rng_state(), "step": step,
        }
        job.saving(step, of_rank(job.rank, state))
        (job.folder / f"global_step{step}").mkdir(exist_ok=True)
        torch.save(state, job.folder / f"global_step{step}" / f"rank_{job.rank:02}.pt")
        dist.barrier()
        if job.rank == 0:
            (job.folder / "latest").write_text(f"global_step{step}")
            remove_old(job.folder, "global_step{}", step)
        dist.barrier()
        job.saved(step)
    dist.destroy_process_group()


def of_rank(rank: int, state: dict) -> Digests:
    return digests(state, f"rank {rank}")


def load_ddp(folder: Path, number: int) -> Digests:
    found: Digests = {}
    for path in (folder / f"global_step{number}").glob("rank_*.pt"):
        found |= of_rank(int(path.stem[-2:]), torch.load(path, mmap=True))
    return found


def deepspeed_engine(job: Job):
    """ZeRO stage 1 in bfloat16."""
    import deepspeed

    # Faster messages in shared memory: it would be compiled for two minutes, and saves nothing.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    join(job)
    deepspeed.init_distributed("gloo")
    model = model_of()
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3),
        config={"train_batch_size": 8, "bf16": {"enabled": True}, "zero_optimization": {"stage": 1}},
    )
    return engine


def train_deepspeed(job: Job) -> None:
    """DeepSpeed's engine saves and loads; the file `latest` is its last act."""
    engine = deepspeed_engine(job)
    step = 0
    if job.resume:
        path, client = engine.load_checkpoint(str(job.resume))
        assert path, f"DeepSpeed finds no checkpoint in {job.resume}"
        step = client["step"]
        job.resumed(step, deepspeed_digests(engine.module_state_dict(), engine.optimizer.state_dict(), job.rank))
    while step < job.saves:
        step += 1
        torch.manual_seed(1000 * step + job.seed)
        engine.backward(engine(torch.randn(4, WIDTH, dtype=torch.bfloat16)).square().mean())
        engine.step()
        job.saving(step, deepspeed_digests(engine.module_state_dict(), engine.optimizer.state_dict(), job.rank))
        engine.save_checkpoint(str(job.folder), client_state={"step": step})
        dist.barrier()
        if job.rank == 0:
            remove_old(job.folder, "global_step{}", step)
        dist.barrier()
        job.saved(step)
    dist.destroy_process_group()


def deepspeed_digests(weights: dict, optimizer: dict, rank: int) -> Digests:
    """The weights in bfloat16, and the part of the float32 copies and moments that a process has."""
    return digests(weights, "module") | parts_of(optimizer, rank)


def parts_of(optimizer: dict, rank: int) -> Digests:
    parts = {name: optimizer[name] for name in ("single_partition_of_fp32_groups", "base_optimizer_state")}
    return digests(parts, f"rank {rank}")


def load_deepspeed(folder: Path, number: int) -> Digests:
    found: Digests = {}
    step = folder / f"global_step{number}"
    for path in step.glob("mp_rank_00_model_states.pt"):
        found |= digests(torch.load(path, weights_only=False)["module"], "module")
    for path in step.glob("bf16_zero_pp_rank_*_mp_rank_00_optim_states.pt"):
        rank = int(path.name.removeprefix("bf16_zero_pp_rank_").split("_")[0])
        found |= parts_of(torch.load(path, weights_only=False)["optimizer_state_dict"], rank)
    return found

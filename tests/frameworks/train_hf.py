"""Trainings with the libraries around transformers: Trainer, sharded save_pretrained, PEFT and Accelerate.

A GPT-2 of two layers, in bfloat16 or float16 where the library does that. Each `train` makes the saves that its job asks
for and goes on from `job.resume`; each `load` tells what save `number` in a folder holds.
"""

import re
import shutil
from pathlib import Path

import accelerate
import peft
import safetensors.torch
import torch
import transformers
from accelerate.utils import ProjectConfiguration
from transformers.trainer_utils import get_last_checkpoint

from trainers import Digests, Job
from writers_torch import digests

KEEP = 2
TOKENS = 16


class Net(transformers.GPT2LMHeadModel):
    """Knows how often it was trained, in a tensor that is saved with the others."""

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("step", torch.zeros((), dtype=torch.int32))


def net() -> Net:
    """About 1 MB of weights, the same in every process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Net(transformers.GPT2Config(n_layer=2, n_head=2, n_embd=128, vocab_size=256, n_positions=TOKENS, bos_token_id=0, eos_token_id=0))


def batch(step: int) -> torch.Tensor:
    return torch.randint(0, 256, (4, TOKENS), generator=torch.Generator().manual_seed(step))


def train_on(model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    optimizer.zero_grad()
    model(input_ids=batch(step), labels=batch(step)).loss.backward()
    optimizer.step()


def train_hf_trainer(job: Job) -> None:
    """transformers.Trainer in bfloat16 with save_total_limit; a save every second step."""

    class Tell(transformers.TrainerCallback):
        def on_train_begin(self, args, state, control, model=None, optimizer=None, **_):
            if state.global_step:
                job.resumed(state.global_step // 2, of_trainer(model, optimizer.state_dict()))

        def on_step_end(self, args, state, control, model=None, optimizer=None, **_):
            if control.should_save:
                job.saving(state.global_step // 2, of_trainer(model, optimizer.state_dict()))

        def on_save(self, args, state, control, **_):
            job.saved(state.global_step // 2)

    data = [{"input_ids": tokens, "labels": tokens} for tokens in batch(job.seed).repeat(8, 1)]
    arguments = transformers.TrainingArguments(
        output_dir=str(job.folder), max_steps=2 * job.saves, save_steps=2, save_total_limit=KEEP, bf16=True, use_cpu=True,
        per_device_train_batch_size=4, report_to=[], disable_tqdm=True, dataloader_pin_memory=False,
    )
    trainer = transformers.Trainer(model=net(), args=arguments, train_dataset=data, callbacks=[Tell()])
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(job.resume)) if job.resume else None)


def of_trainer(model: torch.nn.Module, optimizer: dict) -> Digests:
    return digests({"model": model.state_dict(), "moments": optimizer["state"]})


def load_hf_trainer(folder: Path, number: int) -> Digests:
    checkpoint = folder / f"checkpoint-{2 * number}"
    return of_trainer(Net.from_pretrained(checkpoint), torch.load(checkpoint / "optimizer.pt"))


def train_save_pretrained(job: Job) -> None:
    """Shards in float16, over the ones before, which transformers deletes first."""
    model = Net.from_pretrained(job.resume).float() if job.resume else net()
    if job.resume:
        job.resumed(int(model.step), digests(model.half().state_dict()))
        model.float()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in range(int(model.step) + 1, job.saves + 1):
        train_on(model, optimizer, number + 1000 * job.seed)
        model.step += 1
        half = net().half()
        half.load_state_dict(model.state_dict())
        job.saving(number, digests(half.state_dict()))
        half.save_pretrained(job.folder, max_shard_size="300KB")
        job.saved(number)


def load_save_pretrained(folder: Path, number: int) -> Digests:
    assert len(list(folder.glob("model-*.safetensors"))) > 1, "it is not in shards"
    return digests(Net.from_pretrained(folder, dtype=torch.float16).state_dict())


def lora(base: torch.nn.Module) -> peft.PeftModel:
    settings = peft.LoraConfig(r=64, target_modules=["c_attn", "c_proj", "c_fc"], task_type="CAUSAL_LM", fan_in_fan_out=True)
    return peft.get_peft_model(base, settings)


def train_peft(job: Job) -> None:
    """LoRA on a model in bfloat16: the adapter and its optimizer, a directory a step."""
    model, step = lora(net().bfloat16()), 0
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad])
    if job.resume:
        newest = max(job.resume.glob("step-*/optimizer.pt"), key=step_of)
        step = step_of(newest)
        model.load_adapter(str(newest.parent), "default", is_trainable=True)
        optimizer.load_state_dict(torch.load(newest))
        job.resumed(step, of_adapter(peft.get_peft_model_state_dict(model), optimizer.state_dict()))
    for number in range(step + 1, job.saves + 1):
        train_on(model, optimizer, number + 1000 * job.seed)
        job.saving(number, of_adapter(peft.get_peft_model_state_dict(model), optimizer.state_dict()))
        model.save_pretrained(job.folder / f"step-{number}")
        torch.save(optimizer.state_dict(), job.folder / f"step-{number}" / "optimizer.pt")
        for old in range(1, number - KEEP + 1):
            shutil.rmtree(job.folder / f"step-{old}", ignore_errors=True)
        job.saved(number)


def step_of(path: Path) -> int:
    return int(path.parent.name.split("-")[1])


def of_adapter(weights: dict, optimizer: dict) -> Digests:
    return digests({"adapter": weights, "moments": optimizer["state"]})


def load_peft(folder: Path, number: int) -> Digests:
    step = folder / f"step-{number}"
    # The whole adapter in a new model too: what a reader does.
    peft.PeftModel.from_pretrained(net().bfloat16(), str(step))
    moments = torch.load(step / "optimizer.pt") if (step / "optimizer.pt").exists() else {"state": {}}
    return of_adapter(safetensors.torch.load_file(step / "adapter_model.safetensors"), moments)


def train_accelerate(job: Job) -> None:
    """save_state in bfloat16 with a total_limit: the oldest is deleted before the next is written."""
    settings = ProjectConfiguration(project_dir=str(job.folder), automatic_checkpoint_naming=True, total_limit=KEEP)
    accelerator = accelerate.Accelerator(mixed_precision="bf16", cpu=True, project_config=settings)
    model = net()
    optimizer = torch.optim.AdamW(model.parameters())
    model, optimizer = accelerator.prepare(model, optimizer)
    step = 0
    if job.resume:
        newest = max(job.resume.glob("checkpoint_*/random_states_0.pkl"), key=number_of)
        step = number_of(newest)
        accelerator.load_state(str(newest.parent))
        settings.iteration = step
        # What the kill has left: Accelerate saves over nothing.
        for later in job.folder.glob("checkpoints/checkpoint_*"):
            if number_of(later / "any") > step:
                shutil.rmtree(later)
        job.resumed(step, of_trainer(accelerator.unwrap_model(model), optimizer.state_dict()))
    for number in range(step + 1, job.saves + 1):
        optimizer.zero_grad()
        with accelerator.autocast():
            loss = model(input_ids=batch(number + 1000 * job.seed), labels=batch(number)).loss
        accelerator.backward(loss)
        optimizer.step()
        job.saving(number, of_trainer(accelerator.unwrap_model(model), optimizer.state_dict()))
        accelerator.save_state()
        job.saved(number)


def number_of(path: Path) -> int:
    """Accelerate counts from 0."""
    return int(re.sub(r"\D", "", path.parent.name)) + 1


def load_accelerate(folder: Path, number: int) -> Digests:
    checkpoint = folder / f"checkpoint_{number - 1}"
    model = net()
    safetensors.torch.load_model(model, checkpoint / "model.safetensors")
    moments = torch.load(checkpoint / "optimizer.bin") if (checkpoint / "optimizer.bin").exists() else {"state": {}}
    return of_trainer(model, moments)

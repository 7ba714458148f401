"""The series that PyTorch and safetensors write. Each recipe fills a series; its first line says what it is."""

from collections.abc import Callable
from dataclasses import dataclass

import safetensors.torch
import torch

from series_files import Series, load, with_roles
from series_model import Gpt, Size, Training, add_lora

RATE = 1.5e-4
TUNING_RATE = 1e-5
LORA_RATE = 1e-4
LORA_RANK = 8
# Steps between saves that are near one another.
NEAR = (1, 2, 5, 10, 10, 1, 2, 5, 10)


@dataclass(frozen=True)
class Recipe:
    """How a series is made, and which must be there before."""

    make: Callable[[Series, Size], None]
    needs: tuple[str, ...] = ()


def save_state(series: Series, training: Training) -> None:
    """One torch.save of weights and optimizer over the last one, as many scripts do."""
    path, state = series.folder_of_next() / "model.pt", training.state()
    torch.save(state, path)
    series.add({"model.pt": [path]}, with_roles(state["model"], state["optimizer"]))


def save_weights(series: Series, weights: dict) -> None:
    """bf16 weights as safetensors, one folder a step, as Hugging Face's trainer does."""
    path = series.folder_of_next() / "model.safetensors"
    halves = {name: weight.detach().to(torch.bfloat16) for name, weight in weights.items()}
    safetensors.torch.save_file(halves, path, metadata={"format": "pt"})
    series.add({f"checkpoint-{len(series.saves) + 1}/model.safetensors": [path]}, with_roles(halves))


def states_of(series: Series, name: str):
    """The states in the saves of another series of the same folder, oldest first."""
    folder = series.folder.parent / name
    for save in load(folder)["saves"]:
        yield torch.load(folder / save["files"][0]["parts"][0])


def last_state(series: Series) -> dict:
    """Where `adamw-far` has ended: what other trainings begin from."""
    *_, state = states_of(series, "adamw-far")
    return state


def trained(series: Series, size: Size) -> Gpt:
    model = Gpt(size)
    model.load_state_dict(last_state(series)["model"])
    return model


def adamw_far(series: Series, size: Size) -> None:
    """fp32 AdamW, weights and state in one file, saves far apart, from early in the training"""
    training = Training(Gpt(size), "library", RATE)
    training.run(size.warm_up, size.warm_up)
    for _ in range(size.saves):
        training.run(size.far, size.warm_up)
        save_state(series, training)


def adamw_near(series: Series, size: Size) -> None:
    """fp32 AdamW that goes on where adamw-far ends, saves 1 to 10 steps apart"""
    training = Training(Gpt(size), "library", RATE)
    training.load(last_state(series))
    save_state(series, training)
    for steps in NEAR[: size.saves - 1]:
        training.run(steps)
        save_state(series, training)


def bf16_far(series: Series, _size: Size) -> None:
    """bf16 copies of the weights of adamw-far, as mixed precision saves them"""
    for state in states_of(series, "adamw-far"):
        save_weights(series, state["model"])


def bf16_near(series: Series, _size: Size) -> None:
    """bf16 copies of the weights of adamw-near"""
    for state in states_of(series, "adamw-near"):
        save_weights(series, state["model"])


def bf16_pure(series: Series, size: Size) -> None:
    """Weights and optimizer in bf16 throughout, a small learning rate, 20 steps apart; weights saved"""
    training = Training(trained(series, size).to(torch.bfloat16), "library", TUNING_RATE)
    for _ in range(6):
        training.run(size.far // 5)
        save_weights(series, training.model.state_dict())


def bf16_finetune(series: Series, size: Size) -> None:
    """A base model, then bf16 saves of its fine-tune on another text, 20 steps apart"""
    training = Training(trained(series, size), "tests", TUNING_RATE)
    save_weights(series, training.model.state_dict())
    for _ in range(min(8, size.saves)):
        training.run(size.far // 5)
        save_weights(series, training.model.state_dict())


def frozen(series: Series, size: Size) -> None:
    """fp32, all layers frozen but the last block and the head, which train; optimizer state for these only"""
    model = trained(series, size)
    model.requires_grad_(False)
    for part in (model.blocks[-1], model.norm, model.head):
        part.requires_grad_(True)
    training = Training(model, "tests", RATE)
    for _ in range(min(8, size.saves)):
        training.run(size.far // 4)
        save_state(series, training)


def lora(series: Series, size: Size) -> None:
    """fp32 base, adapters and their optimizer state in each save, 25 steps apart"""
    model = trained(series, size)
    add_lora(model, LORA_RANK)
    training = Training(model, "tests", LORA_RATE)
    for _ in range(min(8, size.saves)):
        training.run(size.far // 4)
        save_state(series, training)


FROM = ("adamw-far",)
RECIPES = {
    "adamw-far": Recipe(adamw_far),
    "adamw-near": Recipe(adamw_near, FROM),
    "bf16-far": Recipe(bf16_far, FROM),
    "bf16-near": Recipe(bf16_near, ("adamw-near",)),
    "bf16-pure": Recipe(bf16_pure, FROM),
    "bf16-finetune": Recipe(bf16_finetune, FROM),
    "frozen": Recipe(frozen, FROM),
    "lora": Recipe(lora, FROM),
}

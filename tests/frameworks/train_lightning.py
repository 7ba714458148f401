"""Trainings with Lightning's ModelCheckpoint: save_top_k, and `last.ckpt` as a second copy or as a link."""

from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from trainers import Digests, Job
from writers_torch import digests

KEEP = 2
WIDTH = 400
BATCHES = 2


class Net(L.LightningModule):
    """About 1 MB of weights."""

    def __init__(self, job: Job):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, 1))
        self.job = job

    def training_step(self, batch, index):
        loss = self.net(batch[0]).float().square().mean()
        # What is monitored only grows, so the newest are the best.
        self.log("score", float(self.current_epoch))
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)

    def on_save_checkpoint(self, checkpoint):
        self.job.saving(checkpoint["epoch"] + 1, of_checkpoint(checkpoint["state_dict"], checkpoint["optimizer_states"][0]))


class Tell(Callback):
    """Says what was found and saved. Checkpoints are written at the end of an epoch, after all other callbacks."""

    def on_train_start(self, trainer, module):
        if module.job.resume:
            optimizer = trainer.optimizers[0].state_dict()
            module.job.resumed(trainer.global_step // BATCHES, of_checkpoint(module.state_dict(), optimizer))

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch and (module.job.notes / f"saving-{trainer.current_epoch}.0").exists():
            module.job.saved(trainer.current_epoch)

    def on_train_end(self, trainer, module):
        module.job.saved(trainer.current_epoch)


def of_checkpoint(weights: dict, optimizer: dict) -> Digests:
    return digests({"model": weights, "moments": optimizer["state"]})


def train(job: Job, last: bool | str, precision: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    loader = DataLoader(TensorDataset(torch.randn(8, WIDTH)), batch_size=8 // BATCHES)
    resume = job.resume and newest(job.resume)
    if resume:
        remove_later(job.folder, torch.load(resume, weights_only=False)["epoch"])
    keep = ModelCheckpoint(
        dirpath=job.folder, filename="{epoch}-{step}", monitor="score", mode="max", save_top_k=KEEP, save_last=last,
    )
    trainer = L.Trainer(
        max_epochs=job.saves, callbacks=[keep, Tell()], accelerator="cpu", precision=precision, logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(Net(job), loader, ckpt_path=resume and str(resume), weights_only=False)


def epoch_of(path: Path) -> int:
    return int(path.name.split("=")[1].split("-")[0])


def newest(folder: Path) -> Path:
    """What to go on from. Lightning removes the link before it makes it again: killed in between, there is none."""
    last = folder / "last.ckpt"
    return last if last.exists() else max(folder.glob("epoch=*.ckpt"), key=epoch_of)


def remove_later(folder: Path, epoch: int) -> None:
    """What the kill has left: Lightning would save beside it, and never remove it."""
    for path in folder.glob("epoch=*.ckpt"):
        if epoch_of(path) > epoch:
            path.unlink()


def train_lightning_last(job: Job) -> None:
    """save_last=True: the checkpoint is written twice."""
    train(job, True, "bf16-mixed")


def train_lightning_link(job: Job) -> None:
    """save_last='link': a link that is removed and made again."""
    train(job, "link", "bf16-true")


def load_lightning(folder: Path, number: int) -> Digests:
    checkpoint = torch.load(folder / f"epoch={number - 1}-step={number * BATCHES}.ckpt", weights_only=False)
    return of_checkpoint(checkpoint["state_dict"], checkpoint["optimizer_states"][0])

"""Training scripts that know nothing of ckptfs: `training.py WRITER FOLDER SAVES` trains something small and saves.

Each is what a user of that framework writes. After every save it prints `saved N` and waits for a line on its standard
input when FOLLOW is set, so that a test can look between two saves, or kill it in the middle of one.
"""

import json
import os
import sys
import time
from pathlib import Path


def saved(number: int) -> None:
    print(f"saved {number}", flush=True)
    if os.environ.get("FOLLOW"):
        sys.stdin.readline()


def torch_model(width: int = 64):
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(32, width), torch.nn.Tanh(), torch.nn.Linear(width, 8))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def torch_step(model, optimizer) -> float:
    import torch

    optimizer.zero_grad()
    loss = model(torch.randn(16, 32)).square().mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def torch_in_place(folder: Path, saves: int) -> None:
    """One name, overwritten; metrics beside it. Goes on from the checkpoint that RESUME names."""
    import torch

    model, optimizer = torch_model()
    done = 0
    if resume := os.environ.get("RESUME"):
        state = torch.load(resume)
        model.load_state_dict(state["model"])
        done = state["step"]
    for step in range(done + 1, done + saves + 1):
        loss = torch_step(model, optimizer)
        torch.save({"model": model.state_dict(), "step": step, "loss": loss}, folder / "model.pt")
        (folder / "metrics.json").write_text(json.dumps({"step": step, "loss": loss}))
        saved(step - done)


def torch_replace(folder: Path, saves: int) -> None:
    """A temporary name, then rename."""
    import torch

    model, optimizer = torch_model()
    for step in range(1, saves + 1):
        torch_step(model, optimizer)
        torch.save({"model": model.state_dict(), "step": step}, folder / "model.pt.tmp")
        os.replace(folder / "model.pt.tmp", folder / "model.pt")
        saved(step)


def torch_epochs(folder: Path, saves: int) -> None:
    """One file an epoch; only the newest stays."""
    import torch

    model, optimizer = torch_model()
    for epoch in range(1, saves + 1):
        torch_step(model, optimizer)
        torch.save({"model": model.state_dict(), "epoch": epoch}, folder / f"epoch_{epoch:04}.pt")
        (folder / f"epoch_{epoch - 1:04}.pt").unlink(missing_ok=True)
        saved(epoch)


def torch_large(folder: Path, saves: int) -> None:
    """A checkpoint that takes long enough to be killed in the middle. Goes on from the one that RESUME names."""
    import torch

    resume = os.environ.get("RESUME")
    done = torch.load(resume)["step"] if resume else 0
    for step in range(done + 1, done + saves + 1):
        state = {f"layer{n}": torch.full((1 << 20,), float(step * 100 + n)) for n in range(64)}
        torch.save({"model": state, "step": step}, folder / "model.pt")
        saved(step - done)


def safetensors(folder: Path, saves: int, values: int = 1 << 18) -> None:
    """One file, replaced. Goes on from the one that RESUME names."""
    import torch
    from safetensors.torch import load_file, save_file

    resume = os.environ.get("RESUME")
    done = int(load_file(resume)["layer0"][0]) // 100 if resume else 0
    for step in range(done + 1, done + saves + 1):
        save_file({f"layer{n}": torch.full((values,), float(step * 100 + n)) for n in range(4)}, folder / "model.safetensors")
        saved(step - done)


def safetensors_large(folder: Path, saves: int) -> None:
    """256 MiB: long enough to be killed in the middle."""
    safetensors(folder, saves, 1 << 24)


def sweep(folder: Path, saves: int) -> None:
    """Four jobs at once, as Hydra's launchers run them: a process and a numbered directory each."""
    import multiprocessing

    import torch  # noqa: F401 - loaded once, before the jobs are forked

    jobs = [multiprocessing.get_context("fork").Process(target=sweep_job, args=(folder / str(job), job, saves)) for job in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
        assert job.exitcode == 0


def sweep_job(folder: Path, job: int, saves: int) -> None:
    import torch

    torch.set_num_threads(1)
    folder.mkdir()
    for step in range(1, saves + 1):
        torch.save({"weights": torch.full((1 << 16,), float(job)), "job": job, "step": step}, folder / "ckpt.pt")


def tf_checkpoint():
    """What the TensorFlow scripts save, and a reader restores into."""
    import tensorflow as tf

    model = tf.keras.Sequential([tf.keras.layers.Input((32,)), tf.keras.layers.Dense(64), tf.keras.layers.Dense(8)])
    optimizer = tf.keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    return tf.train.Checkpoint(model=model, optimizer=optimizer, step=tf.Variable(0, dtype=tf.int64))


def tf_manager(folder: Path, saves: int) -> None:
    """tf.train.CheckpointManager with its own max_to_keep."""
    import tensorflow as tf

    checkpoint = tf_checkpoint()
    model, optimizer, step = checkpoint.model, checkpoint.optimizer, checkpoint.step
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=3)
    for number in range(1, saves + 1):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(tf.random.normal((16, 32)))))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        step.assign_add(1)
        manager.save()
        saved(number)


def tf_large(folder: Path, saves: int) -> None:
    """128 MiB: long enough to be killed in the middle. Goes on from the newest checkpoint in the directory RESUME."""
    import tensorflow as tf

    checkpoint = tf.train.Checkpoint(weights=tf.Variable(tf.zeros(1 << 25)), step=tf.Variable(0, dtype=tf.int64))
    if resume := os.environ.get("RESUME"):
        checkpoint.restore(tf.train.latest_checkpoint(resume)).assert_consumed()
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=3)
    done = int(checkpoint.step)
    for step in range(done + 1, done + saves + 1):
        checkpoint.step.assign(step)
        checkpoint.weights.assign(tf.fill([1 << 25], float(step)))
        manager.save()
        saved(step - done)


def tf_worker(folder: Path, saves: int) -> None:
    """A worker of MultiWorkerMirroredStrategy: it must save when the chief does, and throws its copy away."""
    import tensorflow as tf

    checkpoint = tf_checkpoint()
    temporary = folder / "workertemp_1"
    for number in range(1, saves + 1):
        checkpoint.step.assign_add(1)
        tf.train.CheckpointManager(checkpoint, str(temporary), max_to_keep=1).save()
        tf.io.gfile.rmtree(str(temporary))
        saved(number)


def keras(folder: Path, saves: int) -> None:
    """One .keras file, overwritten by the ModelCheckpoint callback after each epoch."""
    import numpy as np
    import tensorflow as tf

    model = tf.keras.Sequential([tf.keras.layers.Input((32,)), tf.keras.layers.Dense(64), tf.keras.layers.Dense(1)])
    model.compile("adam", "mse")

    class Tell(tf.keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            saved(epoch + 1)

    keep = tf.keras.callbacks.ModelCheckpoint(str(folder / "model.keras"))
    inputs = np.random.default_rng(0).normal(size=(64, 32)).astype("float32")
    model.fit(inputs, inputs[:, :1], epochs=saves, verbose=0, callbacks=[keep, Tell()])


def hf_trainer(folder: Path, saves: int) -> None:
    """transformers.Trainer with save_total_limit=2."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(16, 1)

        def forward(self, inputs, labels=None):
            out = self.net(inputs).squeeze(-1)
            return {"loss": (out - labels).square().mean(), "logits": out}

    class Tell(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            saved(state.global_step // 2)

    torch.manual_seed(0)
    data = [{"inputs": torch.randn(16), "labels": torch.randn(())} for _ in range(saves * 2 * 2)]
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=saves * 2, save_steps=2, save_total_limit=2, logging_steps=1,
        per_device_train_batch_size=2, report_to=[], use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
    )
    Trainer(model=Net(), args=arguments, train_dataset=data, callbacks=[Tell()]).train()


def lightning(folder: Path, saves: int) -> None:
    """Lightning's ModelCheckpoint: written in $TMPDIR, copied to the final name, the one that falls out removed."""
    import torch
    import lightning as L
    from lightning.pytorch.callbacks import Callback, ModelCheckpoint

    class Net(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(16, 1)

        def training_step(self, batch, index):
            loss = self.net(batch[0]).square().mean()
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    class Tell(Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch:
                saved(trainer.current_epoch)

        def on_train_end(self, trainer, module):
            saved(trainer.current_epoch)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(8, 16)), batch_size=4)
    keep = ModelCheckpoint(dirpath=folder, filename="{epoch}-{step}", save_top_k=2, monitor="train_loss", every_n_epochs=1)
    trainer = L.Trainer(max_epochs=saves, callbacks=[keep, Tell()], accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.fit(Net(), loader)


def dcp(folder: Path, saves: int) -> None:
    """torch.distributed.checkpoint, a directory a step."""
    import torch
    import torch.distributed.checkpoint as distributed

    model, optimizer = torch_model()
    for step in range(1, saves + 1):
        torch_step(model, optimizer)
        distributed.save({"model": model.state_dict()}, checkpoint_id=str(folder / f"step_{step}"))
        saved(step)


def orbax(folder: Path, saves: int) -> None:
    import jax.numpy as jnp
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(max_to_keep=2)
    with ocp.CheckpointManager(folder, options=options) as manager:
        for step in range(1, saves + 1):
            manager.save(step, args=ocp.args.StandardSave({"w": jnp.full((64, 64), float(step))}))
            manager.wait_until_finished()
            saved(step)


def nested(folder: Path, saves: int) -> None:
    """`run/epoch_3/step_500/model/weights.bin`: a layout of the script's own."""
    for step in range(1, saves + 1):
        place = folder / "epoch_3" / f"step_{step}00" / "model"
        place.mkdir(parents=True)
        (place / "weights.bin").write_bytes(os.urandom(1 << 20))
        saved(step)


WRITERS = {function.__name__: function for function in (
    torch_in_place, torch_replace, torch_epochs, torch_large, safetensors, safetensors_large, sweep, tf_manager, tf_large,
    tf_worker, keras, hf_trainer, lightning, dcp, orbax, nested,
)}


def main() -> None:
    writer, folder, saves = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    time.sleep(float(os.environ.get("WAIT_BEFORE", "0")))
    WRITERS[writer](folder, saves)


if __name__ == "__main__":
    main()

"""Every writer: saves, its own retention, a kill in the middle of a save, going on, and every version bit for bit."""

import pytest

from acceptance import Course, Trained, take

WRITERS = [
    Trained("dcp", "train_torch", "dcp", ("torch",), ("step_*", 2), ranks=2),
    Trained("dcp-async", "train_torch", "dcp", ("torch",), ("step_*", 2), ranks=2),
    Trained("ddp", "train_torch", "ddp", ("torch",), ("global_step*", 2), ranks=2, unmarked=True),
    Trained("deepspeed", "train_torch", "deepspeed", ("deepspeed",), ("global_step*", 2), ranks=2, unmarked=True),
    Trained("hf-trainer", "train_hf", "hf_trainer", ("transformers",), ("checkpoint-*", 2)),
    Trained("save-pretrained", "train_hf", "save_pretrained", ("transformers", "safetensors"), ("*.index.json", 1), quiet=True),
    Trained("peft", "train_hf", "peft", ("peft",), ("step-*", 2), unmarked=True),
    Trained("accelerate", "train_hf", "accelerate", ("accelerate",), ("checkpoints/*", 2), unmarked=True, below="checkpoints"),
    Trained("lightning-last", "train_lightning", "lightning", ("lightning",), ("epoch=*.ckpt", 2), unmarked=True),
    Trained("lightning-link", "train_lightning", "lightning", ("lightning",), ("epoch=*.ckpt", 2)),
    Trained("mirrored", "train_tensorflow", "tensorflow", ("tensorflow-cpu",), ("*.index", 2)),
    Trained("multi-worker", "train_tensorflow", "tensorflow", ("tensorflow-cpu",), ("*.index", 2), ranks=2),
    Trained("keras-file", "train_tensorflow", "keras_file", ("keras", "tensorflow-cpu"), ("*", 1)),
    Trained("keras-weights", "train_tensorflow", "keras_weights", ("keras", "h5py"), ("*.weights.h5", 5)),
    Trained("keras-freq", "train_tensorflow", "keras_file", ("keras", "tensorflow-cpu"), ("*", 1)),
    Trained("keras-backup", "train_tensorflow", "keras_backup", ("keras", "h5py"), ("*", 2), unmarked=True, copies_back=True),
    Trained("h5py-append", "train_files", "h5py", ("h5py",), ("*", 1), quiet=True, in_place=True, copies_back=True),
    Trained("memmap", "train_files", "memmap", ("numpy",), ("*", 1), quiet=True, in_place=True, copies_back=True),
    Trained("orbax", "train_orbax", "orbax", ("orbax-checkpoint", "jax"), ("[0-9]*", 2)),
]


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_training(mount, writer, tmp_path, record_property):
    """Counted at full speed, and compared with what the training said."""
    record_property("writer", writer.name)
    record_property("packages", writer.told())
    record_property("versions", take(Course(mount, writer, tmp_path)))

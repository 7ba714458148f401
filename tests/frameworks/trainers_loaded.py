"""Everything that the trainings of the acceptance tests import, loaded once in the process that they are forked from.

Nothing may run here: a process that has started threads of its own (an operation of TensorFlow, a client of JAX) cannot
be forked. What is loaded first is what breaks when it comes after TensorFlow.
"""

import os

os.environ |= {
    "CUDA_VISIBLE_DEVICES": "-1",
    "DS_ACCELERATOR": "cpu",
    "HF_HUB_OFFLINE": "1",
    "JAX_PLATFORMS": "cpu",
    # Two processes of one training share two cores with the daemon.
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

import torch
import torch._dynamo
import torch.distributed.checkpoint
import torch.distributed.checkpoint.state_dict
import torch.distributed.fsdp
import torch.utils.tensorboard
import transformers
import transformers.trainer
import transformers.models.gpt2
import accelerate
import peft
import lightning.pytorch
import deepspeed
import deepspeed.runtime.zero.muon.original_muon
import keras
import tensorflow
import jax
import orbax.checkpoint

LOADED = (
    torch, transformers, accelerate, peft, lightning.pytorch, deepspeed, keras, tensorflow, jax, orbax.checkpoint,
)

"""Makes the tiny checkpoints under tests/data/formats with the libraries themselves.

Needs torch, numpy, safetensors, h5py, keras and tensorflow-cpu; run it again only when a library changes its format.
Usage: python3 scripts/python/make_fixtures.py tests/data/formats
"""

import argparse
import os
import pathlib
import pickle
import shutil
import tempfile

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

LIMIT_BYTES = 8192


def torch_files(out: pathlib.Path) -> None:
    import numpy
    import torch

    weights = {"w": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": torch.zeros(2, dtype=torch.float64)}
    plain = {
        "model": weights,
        "epoch": 3,
        "global_step": 1200,
        "loss": 0.25,
        "best_accuracy": numpy.float64(0.875),
        "val_loss": torch.tensor(0.5),
        "note": "text",
    }
    torch.save(plain, out / "plain.pt")
    watched = {"monitor": "val_acc", "best_model_score": torch.tensor(0.5), "current_score": torch.tensor(0.25)}
    lightning = {
        "epoch": 2,
        "global_step": 300,
        "pytorch-lightning_version": "2.6.0",
        "callbacks": {"ModelCheckpoint{'monitor': 'val_acc'}": watched},
        "state_dict": weights,
    }
    torch.save(lightning, out / "epoch=2-step=300.ckpt")
    torch.save(plain, out / "legacy.pth", _use_new_zipfile_serialization=False)
    whole = (out / "plain.pt").read_bytes()
    (out / "cut.pt").write_bytes(whole[: len(whole) // 2])


def torch_states(out: pathlib.Path) -> None:
    """Tensors of each kind that a pickle of torch can lead to."""
    import torch

    torch.manual_seed(0)
    weight = torch.arange(6, dtype=torch.float32).reshape(3, 2)
    kinds = {
        "tied": {"embed.weight": weight, "head.weight": weight},
        "rows": weight[1:],
        "turned": weight.t(),
        "half": torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.bfloat16)),
        "u16": torch.tensor([7, 8], dtype=torch.uint16),
        "f8": torch.tensor([1.0], dtype=torch.float8_e4m3fn),
        "none": torch.zeros(0, 4),
        "list": [torch.tensor(True), {"deep": (torch.tensor([5]),)}],
    }
    torch.save(kinds, out / "kinds.pt")
    torch.save([weight, {"b": weight[1]}], out / "list.pth", _use_new_zipfile_serialization=False)
    torch.save(torch.tensor([[1, 2]], dtype=torch.int16), out / "bare.pt")
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.save({"optimizer": optimizer.state_dict()}, out / "adamw.pt")


def sharded(rank: int, folder: str) -> None:
    """One of two processes that save a tensor together, each a half of it."""
    import torch
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    whole = torch.arange(8, dtype=torch.float32).reshape(4, 2)
    state = {"model": {"w": distribute_tensor(whole, mesh, [Shard(0)])}}
    dcp.save(state, checkpoint_id=f"{folder}/saved")
    dist.destroy_process_group()


def dcp_of_two(out: pathlib.Path) -> None:
    import torch

    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(sharded, args=(folder,), nprocs=2)
        saved = pathlib.Path(folder) / "saved"
        shutil.copy(saved / ".metadata", out / "sharded.metadata")
        shutil.copy(saved / "__1_0.distcp", out / "__1_0.distcp")


def dcp(out: pathlib.Path) -> None:
    import torch
    import torch.distributed.checkpoint as dcp

    with tempfile.TemporaryDirectory() as folder:
        dcp.save({"w": torch.ones(4)}, checkpoint_id=folder)
        shutil.copy(pathlib.Path(folder) / ".metadata", out / "dcp.metadata")
        shutil.copy(pathlib.Path(folder) / "__0_0.distcp", out / "__0_0.distcp")


def numpy_files(out: pathlib.Path) -> None:
    import numpy

    array = numpy.arange(12, dtype=numpy.float32).reshape(3, 4)
    numpy.save(out / "array.npy", array)
    record = numpy.zeros(3, dtype=[("name", "U4"), ("at", "<i8", (2,)), ("in", [("x", "f2")])])
    numpy.save(out / "record.npy", record)
    numpy.save(out / "fortran.npy", numpy.asfortranarray(array))
    numpy.savez(out / "arrays.npz", weights=array, step=numpy.int64(7))
    numpy.savez_compressed(out / "small.npz", weights=array)
    with open(out / "plain.pkl", "wb") as file:
        pickle.dump({"epoch": 1, "step": 10, "metrics": {"loss": 1.5}}, file)
    with open(out / "protocol2.pkl", "wb") as file:
        pickle.dump({"epoch": 1, "loss": numpy.float32(0.5), "steps": list(range(3))}, file, protocol=2)


def hdf5_files(out: pathlib.Path) -> None:
    import h5py
    import numpy

    for name, options in [("v0.h5", {}), ("v3.h5", {"libver": "latest"}), ("user.h5", {"userblock_size": 512})]:
        with h5py.File(out / name, "w", **options) as file:
            file["w"] = [1.0, 2.0]
    with h5py.File(out / "chunks.h5", "w") as file:
        file.create_dataset("c", data=[[1, 2, 3], [4, 5, 6]], dtype="i2", chunks=(1, 3))
    with h5py.File(out / "types.h5", "w", libver="latest") as file:
        file["layers/dense/vars/0"] = numpy.array([1.0, 2.0], dtype="f2")
        file["flags"] = numpy.array([True, False])
        file["big"] = numpy.array([1, 2], dtype=">i4")
        file["scalar"] = numpy.uint64(7)
    with h5py.File(out / "packed.h5", "w") as file:
        file.create_dataset("packed", data=numpy.zeros(64, "i4"), chunks=(64,), compression="gzip")
    # More than 8 names make a group that keeps their order keep them in a heap.
    with h5py.File(out / "dense.h5", "w", libver="latest", track_order=True) as file:
        file["first"] = [1.0, 2.0]
        file["second"] = [3.0]
        for name in "abcdefg":
            file[name] = file["second"]


def safetensors_files(out: pathlib.Path) -> None:
    import numpy
    from safetensors.numpy import save_file

    tensors = {"w": numpy.ones((2, 3), numpy.float32), "n": numpy.zeros(0, numpy.int8), "b": numpy.ones(3, numpy.float16)}
    save_file(tensors, out / "model.safetensors", metadata={"format": "np", "step": "42"})


def tensorflow_files(out: pathlib.Path) -> None:
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = tf.train.Checkpoint(w=tf.Variable([1.0, 2.0]), step=tf.Variable(5))
        prefix = pathlib.Path(checkpoint.write(os.path.join(folder, "ckpt-5")))
        for part in prefix.parent.glob("ckpt-5.*"):
            shutil.copy(part, out / part.name)

    # What tf.saved_model.save writes has 5 KB at least.
    model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    model.meta_graphs.add().meta_info_def.tags.append("serve")
    (out / "saved_model.pb").write_bytes(model.SerializeToString())


def keras_like(out: pathlib.Path) -> None:
    """The layout of `.keras`; one that keras itself writes is 12 KB at least."""
    import zipfile

    with zipfile.ZipFile(out / "tiny.keras", "w") as file:
        file.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        file.writestr("config.json", "{}")
        file.write(out / "v0.h5", "model.weights.h5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for make in [torch_files, torch_states, dcp, dcp_of_two, numpy_files, hdf5_files, safetensors_files, tensorflow_files, keras_like]:
        make(out)
    for path in sorted(out.iterdir()):
        size = path.stat().st_size
        print(f"{size:6} {path.name}")
        if size > LIMIT_BYTES:
            raise SystemExit(f"{path.name} has {size} bytes, {LIMIT_BYTES} are the limit of a fixture")


if __name__ == "__main__":
    main()

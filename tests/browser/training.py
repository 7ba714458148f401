"""Made-up trainings: a run with its versions, their changes and files, as `ckptfs report` puts them into a page."""

import datetime
import math
import random

MIB = 1 << 20
BEGIN = 1769860805


def utc(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tensors(layers: int) -> list[tuple[str, list[int]]]:
    names = [("embed.weight", [50257, 768])]
    for layer in range(layers):
        names += [
            (f"blocks.{layer}.attn.qkv.weight", [2304, 768]),
            (f"blocks.{layer}.attn.qkv.bias", [2304]),
            (f"blocks.{layer}.mlp.up.weight", [3072, 768]),
            (f"blocks.{layer}.mlp.down.weight", [768, 3072]),
        ]
    return names + [("head.weight", [50257, 768])]


def settings() -> list[dict]:
    names = {
        "max_to_keep": ("10", "run"),
        "keep_best": ("3", "run"),
        "monitor": ("val_loss", "run"),
        "mode": ("min", "default"),
        "keep_period": ("5000", "mount"),
        "keep_checkpoint_every_n_hours": ("off", "default"),
        "keep_steps": ("off", "default"),
        "keep_within": ("off", "default"),
        "keep_daily": ("off", "default"),
        "incomplete_ttl": ("4h", "default"),
        "deleted_run_ttl": ("7d", "default"),
    }
    return [{"name": name, "value": value, "from": source} for name, (value, source) in names.items()]


def version(number: int, of: int, draw: random.Random, *, every: float) -> dict:
    """The version `number` of `of` of a training; some are odd: unfinished, invalid, tagged, removed."""
    step, time = number * 500, BEGIN + number * every + draw.random() * 200
    loss = 0.8 + 9.5 * math.exp(-number / of * 5) + draw.gauss(0, 0.05)
    is_bad, is_tagged = number % 17 == 5, number % 19 == 3
    kept = [f"newest {of - number + 1} of 10"] if of - number < 10 and not is_bad else []
    kept += ["period"] if step % 5000 == 0 and not is_bad else []
    kept += ["tag"] if is_tagged else []
    logical = 487 * MIB + draw.randrange(MIB)
    new = int(logical * (0.9 if number == 1 else 0.18 + 0.3 * math.exp(-number / of * 3) + draw.random() * 0.05))
    return {
        "number": number,
        "utc": utc(time),
        "time": [int(time), 123456789],
        "trigger": "quiet" if number % 3 else "hf-trainer",
        "path": "experiments/gpt2-small",
        "complete": not (is_bad and number % 2),
        "valid": not is_bad,
        "why": ["model.safetensors: the header names 512 bytes more than the file has"] if is_bad else [],
        "step": step,
        "epoch": step // 4000,
        "metrics": (
            {"val_loss": loss, "lr": 3e-4 * (1 - number / of) + 1e-8, "grad_norm": 0.4 + draw.random()}
            if number % 13
            else {}
        ),
        "files": 7,
        "logical_bytes": logical,
        "new_bytes": new,
        "tags": ["paper-v1"] if is_tagged else [],
        "pinned": number % 37 == 1,
        "kept_for_ever": is_tagged,
        "kept_by": kept,
        "goes": (
            ""
            if kept
            else (
                "incomplete or invalid for 4h or longer"
                if is_bad
                else "not among the newest 10, and no other rule keeps it"
            )
        ),
        "provenance": {
            "host": "gpu-07",
            "user": "ada",
            "uid": 1000,
            "pid": 41822,
            "program": "/usr/bin/python3.11",
            "script": "/home/ada/src/gpt/train.py",
            "args": None,
            "cwd": "/home/ada/src/gpt",
            "git_commit": "9f1c2e7ab04d5513c8e0d1f6a7b2c3d4e5f60718",
            "git_dirty": number % 2 == 0,
            "git_branch": "long-context",
        },
        "expired": {"at": int(time) + 9000, "by_hand": True, "why": "removed by ada"} if number % 29 == 7 else None,
        "share": {
            "logical_bytes": logical,
            "referenced_bytes": logical - 3 * MIB,
            "stored_bytes": new * 2,
            "unique_bytes": new // 2,
            "would_free_bytes": new // 3,
        },
        "diff": None,
    }


def diff(number: int, layers: int) -> dict:
    changed = [
        {
            "name": name,
            "change": "changed",
            "dtype_before": "f32",
            "dtype_after": "bf16" if "head" in name else "f32",
            "shape_before": shape,
            "shape_after": shape,
            "bytes": 4 * math.prod(shape),
        }
        for name, shape in tensors(layers)
    ]
    new = {"against": None, "bytes_before": None, "same_tensors": 0, "damage": None, "more_tensors": 0, "tensors": []}
    return {
        "against": number - 1,
        "same_files": 3,
        "files": [
            {
                "path": "model.safetensors",
                "change": "changed",
                "against": None,
                "bytes_before": 163 * MIB,
                "bytes_after": 163 * MIB,
                "new_bytes": 71 * MIB,
                "same_tensors": 12,
                "damage": None,
                "more_tensors": 9,
                "tensors": changed,
            },
            new | {"path": f"events/step-{number}.json", "change": "added", "bytes_after": 4210, "new_bytes": 4210},
            new
            | {
                "path": f"optimizer-{number}.pt",
                "change": "changed",
                "against": f"optimizer-{number - 1}.pt",
                "bytes_before": 324 * MIB,
                "bytes_after": 324 * MIB,
                "new_bytes": 90 * MIB,
                "damage": "chunk 12 does not decode: the checksum differs",
            },
            new
            | {
                "path": f"events/step-{number - 1}.json",
                "change": "removed",
                "bytes_before": 4188,
                "bytes_after": None,
                "new_bytes": 0,
            },
        ],
    }


def inside(number: int, layers: int) -> dict:
    held = [
        {
            "name": name,
            "dtype": "bf16",
            "shape": shape,
            "global_shape": None,
            "offset": 4096 * at,
            "bytes": 2 * math.prod(shape),
            "stored_bytes": math.prod(shape),
            "encoded": at % 9 == 1,
        }
        for at, (name, shape) in enumerate(tensors(layers))
    ]
    base = {
        "kind": "file",
        "mode": 0o100644,
        "mtime": BEGIN,
        "target": None,
        "format": None,
        "state": None,
        "content": "b3:7f" * 8,
        "damage": None,
        "more_tensors": 0,
        "tensors": [],
    }
    return {
        "number": number,
        "files": [
            base | {"path": "config.json", "bytes": 812, "stored_bytes": 402},
            base
            | {
                "path": "latest",
                "kind": "symlink",
                "bytes": 5,
                "stored_bytes": 0,
                "target": "model.safetensors",
                "content": None,
            },
            base
            | {
                "path": "model.safetensors",
                "bytes": 163 * MIB,
                "stored_bytes": 71 * MIB,
                "format": "safetensors",
                "state": "valid",
                "tensors": held,
            },
            base
            | {
                "path": "optimizer.pt",
                "bytes": 324 * MIB,
                "stored_bytes": 90 * MIB,
                "format": "torch zip",
                "state": "invalid",
                "damage": "no pack has chunk 12",
            },
        ],
    }


def run(name: str, of: int, *, every: float = 2400.0, layers: int = 12) -> dict:
    """A run of `of` versions, newest first; the last few have their changes, the newest its files."""
    draw = random.Random(name)
    versions = [version(number, of, draw, every=every) for number in range(of, 0, -1)]
    for one in versions[:20]:
        one["diff"] = diff(one["number"], layers)
    known = [one for one in versions if one["valid"] and one["metrics"] and not one["expired"]]
    best = min(known, key=lambda one: one["metrics"]["val_loss"])["number"] if known else None
    return {
        "run": name,
        "deleted": False,
        "monitor": "val_loss",
        "best": best,
        "settings": settings(),
        "wrong": None,
        "versions": versions,
        "inside": inside(of, layers) if of else None,
    }

"""Pages to test: the files of the report with made-up histories in them, put together as `ckptfs report` does."""

import json
import pathlib

from training import BEGIN, MIB, run, utc

REPORT = pathlib.Path(__file__).resolve().parents[2] / "src/cli/report"

# Markup, ends of the elements that data and script lie in, quotes, the page's own placeholders, bidi overrides, controls.
HOSTILE = (
    "<script>window.harmed=1</script><img src=x onerror=window.harmed=2></script><!--\"'`&amp;/*SCRIPT*//*DATA*/"
    "\u202egnp.exe\u2066\u0000\u0007\u001b[31m\u007f\u2028\u200b\ufeff\U000e0041 javascript:alert(1)"
)


def page(data: dict) -> str:
    """The page with `data`, which must not be able to end the element that it is in."""
    text = json.dumps(data, ensure_ascii=False)
    for harmful in "<>&\u2028\u2029":
        text = text.replace(harmful, f"\\u{ord(harmful):04x}")
    skeleton = (REPORT / "page.html").read_text()
    style = (REPORT / "page.css").read_text()
    script = "\n".join(path.read_text() for path in sorted(REPORT.glob("*.js")))
    # Split before anything is put in: what is put in may name a placeholder too.
    head, rest = skeleton.split("/*STYLE*/")
    middle, rest = rest.split("/*DATA*/")
    between, end = rest.split("/*SCRIPT*/")
    return head + style + middle + text + between + script + end


def store(runs: list[dict]) -> dict:
    """A history of `runs`, whose savings add up."""
    logical = sum(version["logical_bytes"] for run in runs for version in run["versions"])
    saved = {"logical_bytes": logical}
    parts = {
        "dedup": 0.41,
        "planes": 0.12,
        "delta": 0.22,
        "zstd": 0.03,
        "constant": 0.02,
        "holes": 0.004,
        "other": 0,
        "lost": 0,
    }
    saved |= {f"{name}_bytes": int(logical * part) for name, part in parts.items()}
    costs = {"bases": 0.004, "metadata": 0.0011, "headers": 0.0006, "garbage": 0.003}
    saved |= {f"{name}_bytes": int(logical * part) for name, part in costs.items()}
    left = logical - sum(saved[f"{name}_bytes"] for name in parts)
    saved["packs_bytes"] = left + sum(saved[f"{name}_bytes"] for name in costs)
    disk = {
        "packs_bytes": saved["packs_bytes"],
        "index_bytes": 3 * MIB,
        "journal_bytes": 8 * MIB,
        "catalog_bytes": 2 * MIB,
        "hot_bytes": 640 * MIB,
        "other_bytes": 64 * MIB,
    }
    disk["total_bytes"] = sum(disk.values())
    return {
        "generated": utc(BEGIN + 90 * 86400),
        "program": "0.1.0",
        "store": "/data/checkpoints.store",
        "saved": saved,
        "disk": disk,
        "hot_only_bytes": 0 if not runs else 310 * MIB,
        "runs": runs,
    }


def hostile(value: object) -> object:
    """The same with every string, and every name of a metric, made hostile; what the page calculates with stays."""
    if isinstance(value, str):
        return (
            value
            if value in {"changed", "added", "removed", "file", "symlink", "default", "mount", "run"}
            else value + HOSTILE
        )
    if isinstance(value, list):
        return [hostile(one) for one in value]
    if isinstance(value, dict):
        spoilt = {name: one if name in {"utc", "generated"} else hostile(one) for name, one in value.items()}
        return {name + HOSTILE if name == "val_loss" else name: one for name, one in spoilt.items()} | (
            {"constructor": 1.5} if "val_loss" in value else {}
        )
    return value


def all_samples() -> dict[str, dict]:
    """The histories by name."""
    sweep = [run("sweep/lr-3e-4", 400, every=7200.0), run("sweep/lr-1e-3", 350), run("sweep/lr-3e-3", 250)]
    bare = run("plain", 12)
    for one in bare["versions"]:
        one |= {
            "step": None,
            "epoch": None,
            "metrics": {},
            "share": None,
            "diff": None,
            "provenance": None,
            "tags": [],
            "pinned": False,
        }
    bare |= {
        "best": None,
        "monitor": None,
        "inside": None,
        "deleted": True,
        "wrong": "keep_best needs monitor",
        "settings": [],
    }
    # No version has both a step and a metric, and one metric is only in what is removed.
    sparse = run("sparse", 8)
    for one in sparse["versions"]:
        one |= {"metrics": {}} if one["number"] % 2 else {"step": None}
        one["metrics"] = {"alone": 1.0} if one["expired"] else one["metrics"]
    return {
        "one": store([run("experiments/gpt2-small", 40)]),
        "thousand": store([*sweep, run("nothing-yet", 0)]),
        "hostile": hostile(store([run("a", 30), run("b", 3)])),
        "bare": store([bare]),
        "sparse": store([sparse]),
        "single": store([run("single", 1)]),
        "empty": store([]),
        "tensors": store([run("/", 6, layers=4200)]),
        "many": store([run("long", 10000, every=300.0)]),
    }

"""The language model whose training makes the series: a GPT over bytes, and the text that it learns.

The text is the Python standard library's own source. Everything is seeded, on two threads: the same machine makes the
same bytes again.
"""

import dataclasses
import sysconfig
from pathlib import Path

import torch
from torch import nn

BATCH = 4
BETAS, WEIGHT_DECAY = (0.9, 0.95), 0.1


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a model is and how far apart its saves are."""

    width: int
    layers: int
    heads: int
    context: int
    saves: int
    far: int
    warm_up: int


# 7.5 million parameters: 30 MB in fp32, 90 MB with the state of AdamW.
FULL = Size(width=320, layers=6, heads=5, context=64, saves=10, far=100, warm_up=200)
# 0.3 million: seconds in all, for tests.
SMALL = Size(width=96, layers=2, heads=3, context=32, saves=6, far=10, warm_up=20)


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind its own normalisation."""

    def __init__(self, size: Size):
        super().__init__()
        self.heads = size.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.attention = nn.Linear(size.width, 3 * size.width)
        self.project = nn.Linear(size.width, size.width)
        self.up, self.down = nn.Linear(size.width, 4 * size.width), nn.Linear(4 * size.width, size.width)

    def forward(self, hidden):
        query, key, value = self.attention(self.norm_1(hidden)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.project(mixed.transpose(1, 2).flatten(2))
        return hidden + self.down(nn.functional.gelu(self.up(self.norm_2(hidden))))


class Gpt(nn.Module):
    """Byte in, next byte out."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size
        self.tokens, self.places = nn.Embedding(256, size.width), nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.norm, self.head = nn.LayerNorm(size.width), nn.Linear(size.width, 256, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # As GPT-2: 0.02, less for what is added to the residual stream.
                is_added = name.endswith(("project.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * size.layers) ** 0.5 if is_added else 0.02)

    def forward(self, batch):
        hidden = self.tokens(batch) + self.places.weight[: batch.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.norm(hidden))


class Lora(nn.Module):
    """A linear layer that stays, and two narrow ones beside it that learn."""

    def __init__(self, base: nn.Linear, rank: int):
        super().__init__()
        self.base = base
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) / rank)
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, hidden):
        return self.base(hidden) + hidden @ self.lora_a.T @ self.lora_b.T


def add_lora(model: Gpt, rank: int) -> None:
    """Freezes all there is and gives each linear layer of the blocks an adapter."""
    model.requires_grad_(False)
    for block in model.blocks:
        for name in ("attention", "project", "up", "down"):
            setattr(block, name, Lora(getattr(block, name), rank))


def text(part: str) -> torch.Tensor:
    """Bytes to learn from: `library`, or `tests`, which a fine-tune has not seen yet."""
    root = Path(sysconfig.get_paths()["stdlib"])
    folders = {"library": ("asyncio", "email", "json", "."), "tests": ("unittest", "idlelib", "test")}[part]
    files = [path for folder in folders for path in sorted((root / folder).glob("*.py"))][:300]
    raw = b"\n".join(path.read_bytes() for path in files)
    if len(raw) < 1 << 20:
        raise SystemExit(f"{root} holds too few sources to learn from")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8).long()


class Training:
    """A model in training. Each step's batch depends on the number of the step only."""

    def __init__(self, model: Gpt, part: str, rate: float, step: int = 0):
        self.model, self.rate, self.step, self.text = model, rate, step, text(part)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=rate, betas=BETAS, weight_decay=WEIGHT_DECAY)

    def run(self, steps: int, warm_up: int = 0) -> None:
        """Trains on; the learning rate rises over the first `warm_up` steps and then stays."""
        length = self.model.size.context + 1
        for _ in range(steps):
            chosen = torch.Generator().manual_seed(self.step)
            starts = torch.randint(len(self.text) - length, (BATCH,), generator=chosen).tolist()
            batch = torch.stack([self.text[start : start + length] for start in starts])
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * min(1.0, (self.step + 1) / max(1, warm_up))
            scores = self.model(batch[:, :-1]).flatten(0, 1).float()
            loss = nn.functional.cross_entropy(scores, batch[:, 1:].flatten())
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.step += 1
        self.loss = loss.item()

    def state(self) -> dict:
        """What a script saves: weights, state of the optimizer, counters."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}

    def load(self, state: dict) -> None:
        """Goes on from what was saved."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

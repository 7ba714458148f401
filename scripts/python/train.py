"""A small language model that learns to write like a folder of text. An ordinary training script.

It knows nothing of the filesystem below, and saves as most scripts do: torch.save after each epoch, over the one file
`model.pt`. With --resume it goes on from a checkpoint. Every epoch is seeded by its number, so a run that was killed and
resumed ends with the same weights as one that was not.
"""

import argparse
import shutil
import time
from pathlib import Path

import torch
from torch import nn

CONTEXT, BATCH, WIDTH, LAYERS, STEPS = 64, 8, 320, 3, 6


class Model(nn.Module):
    """A causal transformer over bytes; with its optimizer a checkpoint has about 47 MB."""

    def __init__(self):
        super().__init__()
        self.bytes = nn.Embedding(256, WIDTH)
        self.places = nn.Embedding(CONTEXT, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 8, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 256)

    def forward(self, batch):
        mask = nn.Transformer.generate_square_subsequent_mask(batch.shape[1])
        hidden = self.bytes(batch) + self.places(torch.arange(batch.shape[1]))
        return self.head(self.layers(hidden, mask=mask, is_causal=True))


def read_text(folder: Path) -> torch.Tensor:
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".rs", ".md"})
    raw = b"\n".join(path.read_bytes() for path in files)
    if len(raw) <= CONTEXT + 1:
        raise SystemExit(f"{folder} holds no text to learn from")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8).long()


def train_epoch(model, optimizer, text: torch.Tensor, epoch: int) -> float:
    torch.manual_seed(epoch)
    for _ in range(STEPS):
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH,)).tolist()
        batch = torch.stack([text[start : start + CONTEXT + 1] for start in starts])
        loss = nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def save(path: Path, model, optimizer, epoch: int, loss: float) -> None:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "loss": loss}
    torch.save(state, path)


def resume(checkpoint: Path, model, optimizer) -> int:
    """Loads a checkpoint; returns the epoch to train next."""
    state = torch.load(checkpoint)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"resumed {state['epoch']} {state['loss']:.4f}", flush=True)
    return state["epoch"] + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--resume", type=Path, help="begin from this checkpoint")
    parser.add_argument("--copies", type=Path, help="copy every epoch here, for a filesystem without history")
    options = parser.parse_args()

    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(2)
    torch.manual_seed(0)
    text = read_text(options.text)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    options.checkpoints.mkdir(parents=True, exist_ok=True)
    checkpoint = options.checkpoints / "model.pt"
    first = resume(options.resume, model, optimizer) if options.resume else 0
    for epoch in range(first, options.epochs):
        loss = train_epoch(model, optimizer, text, epoch)
        began = time.perf_counter()
        save(checkpoint, model, optimizer, epoch, loss)
        print(f"saved {epoch} {loss:.4f} {time.perf_counter() - began:.4f}", flush=True)
        if options.copies:
            shutil.copyfile(checkpoint, options.copies / f"epoch_{epoch:02}.pt")


if __name__ == "__main__":
    main()

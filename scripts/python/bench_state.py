"""The state of a training as its optimizer changes it: weights move a little, the moments of Adam more.

What sealing and re-encoding do depends on how a save differs from the one before: here as after some hundred steps of
AdamW, not as random bytes. Steps are made at random, with the spreads that a training has.
"""

import torch

TENSOR = 4 << 20  # floats
RATE, BETA_1, BETA_2 = 1e-3, 0.1, 0.95  # of the moments, what is left of them from one save to the next


class State:
    """Weights and both moments in fp32, together about `size` bytes."""

    def __init__(self, size: int):
        self.made = torch.Generator().manual_seed(1)
        length = min(TENSOR, size // 12)
        count = max(1, size // (12 * length))
        self.weights = [self.normal(length).mul_(0.02) for _ in range(count)]
        self.first = [self.normal(length).mul_(1e-4) for _ in range(count)]
        self.second = [self.normal(length).mul_(1e-4).square_() for _ in range(count)]
        self.step = 0

    def normal(self, length: int) -> torch.Tensor:
        return torch.randn(length, generator=self.made)

    def train(self) -> None:
        """From one save to the next."""
        self.step += 100
        for weight, first, second in zip(self.weights, self.first, self.second, strict=True):
            gradient = self.normal(weight.shape[0]).mul_(1e-4)
            first.mul_(BETA_1).add_(gradient, alpha=1 - BETA_1)
            second.mul_(BETA_2).add_(gradient.square_(), alpha=1 - BETA_2)
            weight.sub_(first.div(second.sqrt().add_(1e-8)), alpha=RATE)

    def dict(self) -> dict:
        names = [f"layers.{n}.weight" for n in range(len(self.weights))]
        moments = {n: {"step": self.step, "exp_avg": first, "exp_avg_sq": second}
                   for n, (first, second) in enumerate(zip(self.first, self.second, strict=True))}
        return {"model": dict(zip(names, self.weights, strict=True)), "optimizer": {"state": moments}, "step": self.step}

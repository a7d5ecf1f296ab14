"""How sure a number is: bootstrap intervals over prompts, and paired comparisons of rows (Efron and Tibshirani, 1993).

Clips of one prompt are alike, so prompts are drawn, with all of their clips, and not clips. Two rows are compared on
the same drawn prompts: what a prompt makes hard for both cancels out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

REPLICATES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate, and the 95 % interval around it."""

    estimate: float
    low: float
    high: float

    @property
    def apart(self) -> bool:
        """Whether zero is outside: of a difference, that there is one."""
        return self.low > 0 or self.high < 0

    def text(self, digits: int) -> str:
        """`0.209 (0.203 to 0.215)`."""
        return f"{self.estimate:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def counts(prompts: int, replicates: int = REPLICATES, seed: int = 0) -> Tensor:
    """How often each prompt is drawn in each replicate, `(replicate, prompt)`; every row sums to their number."""
    drawn = torch.randint(prompts, (replicates, prompts), generator=torch.Generator().manual_seed(seed))
    return torch.zeros(replicates, prompts, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(replicates, prompts, dtype=torch.float64)
    )


def of_mean(values: Tensor, drawn: Tensor) -> Interval:
    """The mean of a value for each prompt, `(prompt,)`; of two rows' difference it is a paired comparison."""
    values = values.double()
    return interval(float(values.mean()), drawn @ values / len(values))


def interval(estimate: float, replicates: Tensor) -> Interval:
    """The replicates' 95 % around an estimate, less their bias: what drawing again adds is known and taken off."""
    bias = float(replicates.mean()) - estimate
    tail = (1 - LEVEL) / 2
    low, high = (float(replicates.quantile(share)) - bias for share in (tail, 1 - tail))
    return Interval(estimate, low, high)


@dataclass(frozen=True)
class Moments:
    """What the Frechet distance needs of feature vectors, by prompt.

    Attributes:
        count: `(prompt,)`, how many vectors.
        total: `(prompt, feature)`, their sum.
        products: `(prompt, feature, feature)`, the sum of their outer products.
    """

    count: Tensor
    total: Tensor
    products: Tensor

    @classmethod
    def of(cls, features: Sequence[Tensor]) -> Moments:
        """Of each prompt's features `(sample, feature)`."""
        doubles = [each.double() for each in features]
        return cls(
            torch.tensor([len(each) for each in doubles], dtype=torch.float64),
            torch.stack([each.sum(dim=0) for each in doubles]),
            torch.stack([each.T @ each for each in doubles]),
        )

    def normal(self, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Means `(replicate, feature)` and covariances of the drawn prompts' features, all together."""
        count = (drawn @ self.count)[:, None]
        mean = drawn @ self.total / count
        products = torch.einsum("rp,pij->rij", drawn, self.products)
        spread = products - count[..., None] * mean[:, :, None] * mean[:, None, :]
        return mean, spread / (count[..., None] - 1)


def frechet_distances(moments: Moments, reference: Moments, drawn: Tensor) -> Tensor:
    """Frechet distances `(replicate,)` of the drawn prompts' features to the same prompts' reference features."""
    mean, covariance = moments.normal(drawn)
    wanted_mean, wanted = reference.normal(drawn)
    values, vectors = torch.linalg.eigh(wanted)
    root = (vectors * values.clamp(min=0).sqrt()[:, None, :]) @ vectors.mT
    common = torch.linalg.eigvalsh(root @ covariance @ root).clamp(min=0).sqrt().sum(dim=1)
    traces = (covariance + wanted).diagonal(dim1=1, dim2=2).sum(dim=1)
    distances: Tensor = (mean - wanted_mean).square().sum(dim=1) + traces - 2 * common
    return distances

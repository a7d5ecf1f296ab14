"""How sure a number is: bootstrap intervals over prompts, and paired comparisons of rows.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993.

Clips of one prompt are alike, so prompts are drawn, with all of their clips, and not clips. What is
computed from the drawn prompts is a vector, `(1 + replicate,)`: first from all prompts once, the
estimate, then from every draw. Two rows are compared on the same draws, by the difference or the
ratio of their vectors: what a prompt makes hard for both cancels out.
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
        return f"{self.estimate:z.{digits}f} ({self.low:z.{digits}f} to {self.high:z.{digits}f})"

    def marked(self, digits: int) -> str:
        """The text of a difference: bold where there is one."""
        return f"**{self.text(digits)}**" if self.apart else self.text(digits)


def draws(prompts: int, replicates: int = REPLICATES, seed: int = 0) -> Tensor:
    """How often each prompt is drawn, `(1 + replicate, prompt)`; at first each once."""
    drawn = torch.randint(
        prompts, (replicates, prompts), generator=torch.Generator().manual_seed(seed)
    )
    once = torch.arange(prompts)[None]
    return torch.zeros(1 + replicates, prompts, dtype=torch.float64).scatter_add_(
        1, torch.cat((once, drawn)), torch.ones(1 + replicates, prompts, dtype=torch.float64)
    )


def mean(values: Tensor, drawn: Tensor) -> Tensor:
    """The drawn prompts' mean of a value `(prompt,)`; a prompt whose value is NaN has none."""
    known = ~values.isnan()
    return drawn @ values.double().nan_to_num() / (drawn @ known.double())


def median(values: Tensor, drawn: Tensor) -> Tensor:
    """The drawn prompts' median of a value `(prompt,)`: the lower one where there are two."""
    ordered, places = values.double().sort()
    below = drawn[:, places].cumsum(dim=1)
    return ordered[(below < len(values) / 2).sum(dim=1)]


def interval(computed: Tensor) -> Interval:
    """The middle 95 % of the draws, around what all prompts once have given."""
    tail = (1 - LEVEL) / 2
    low, high = (float(computed[1:].quantile(share)) for share in (tail, 1 - tail))
    return Interval(float(computed[0]), low, high)


def less_bias(computed: Tensor) -> Tensor:
    """The same with the draws moved so that their mean is the estimate.

    For what drawing again adds to by itself.
    """
    return torch.cat((computed[:1], computed[1:] - (computed[1:].mean() - computed[0])))


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
        """Means `(draw, feature)` and covariances of the drawn prompts' features, all together."""
        count = (drawn @ self.count)[:, None]
        mean = drawn @ self.total / count
        products = (drawn @ self.products.flatten(1)).view(len(drawn), *self.products.shape[1:])
        spread = products - count[..., None] * mean[:, :, None] * mean[:, None, :]
        return mean, spread / (count[..., None] - 1)


class Frechet:
    """Frechet distances, as normal distributions, of drawn prompts' features to their references'.

    Args:
        reference: of the reference features.
        drawn: of `draws`.
    """

    def __init__(self, reference: Moments, drawn: Tensor) -> None:
        self._drawn = drawn
        self._mean, self._covariance = reference.normal(drawn)
        values, vectors = torch.linalg.eigh(self._covariance)
        self._root = (vectors * values.clamp(min=0).sqrt()[:, None, :]) @ vectors.mT

    def distances(self, moments: Moments) -> Tensor:
        """One for each draw."""
        mean, covariance = moments.normal(self._drawn)
        between = torch.linalg.eigvalsh(self._root @ covariance @ self._root)
        common = between.clamp(min=0).sqrt().sum(dim=1)
        traces = (covariance + self._covariance).diagonal(dim1=1, dim2=2).sum(dim=1)
        distances: Tensor = (mean - self._mean).square().sum(dim=1) + traces - 2 * common
        return distances

"""What a network is told beside the sample and its timestep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from confiner_cli.experts.networks.text_attention import TextMemory


@dataclass(frozen=True, eq=False)
class Conditioning:
    """A prompt as a network reads it, for one sample or for several.

    Attributes:
        states: the text's hidden states, `(sample, token, width)`.
        mask: which tokens there are, bool, `(sample, token)`; None: all of them.
        extras: what a family wants beside the text, by name, each `(sample, ...)`.
        memory: what a network's layers remember of the text, for as many samples or for a number
            that divides them; empty: they read the text itself.
    """

    states: Tensor
    mask: Tensor | None = None
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    memory: TextMemory = ()

    def told(self, samples: int) -> dict[str, Any]:
        """The text, as arguments of a UNet whose batch has so many samples.

        What layers remember is shared out by themselves, so nothing is repeated then.

        Raises: as `for_batch`.
        """
        if self.memory:
            self._repeats(samples)
            kwargs = {"text": self.memory}
            return {"encoder_hidden_states": self.states, "cross_attention_kwargs": kwargs}
        return {"encoder_hidden_states": self.for_batch(samples).states}

    def for_batch(self, samples: int) -> Conditioning:
        """The same for a batch of so many samples, each repeated in its place: `a b` to `a a b b`.

        Raises:
            ValueError: there are more than that, or they do not divide it.
        """
        repeats = self._repeats(samples)
        if repeats == 1:
            return self
        return self._changed(lambda tensor: tensor.repeat_interleave(repeats, dim=0))

    def _repeats(self, samples: int) -> int:
        repeats, rest = divmod(samples, len(self.states))
        if rest or not repeats:
            raise ValueError(f"{samples} samples cannot be told {len(self.states)} things")
        return repeats

    def goes_with(self, other: Conditioning) -> bool:
        """Whether both can be told at once: the longer text is so many times the shorter one."""
        lengths = self.states.shape[1], other.states.shape[1]
        return max(lengths) % min(lengths) == 0

    def repeated(self, tokens: int) -> Conditioning:
        """The same text in so many tokens: it is said several times.

        To cross-attention that is the same: its keys have no order, and each is met as many times
        as every other one. Other padding would be read, too.

        Raises:
            ValueError: it does not divide them.
        """
        count = self.states.shape[1]
        if tokens == count:
            return self
        times, rest = divmod(tokens, count)
        if rest or not times:
            raise ValueError(f"{tokens} tokens cannot be told by {count}")
        mask = None if self.mask is None else self.mask.repeat(1, times)
        return replace(self, states=self.states.repeat(1, times, 1), mask=mask)

    def followed_by(self, other: Conditioning) -> Conditioning:
        """One conditioning for the samples of this one and then for those of another.

        The shorter text is repeated.

        Raises:
            ValueError: they do not say the same kinds of things, or do not go together.
        """
        tokens = max(self.states.shape[1], other.states.shape[1])
        return self.repeated(tokens)._before(other.repeated(tokens))

    def _before(self, other: Conditioning) -> Conditioning:
        if (self.mask is None) != (other.mask is None) or self.extras.keys() != other.extras.keys():
            raise ValueError("only conditionings of one network go together")
        mask = None
        if self.mask is not None and other.mask is not None:
            mask = torch.cat((self.mask, other.mask))
        extras = {name: torch.cat((own, other.extras[name])) for name, own in self.extras.items()}
        return Conditioning(torch.cat((self.states, other.states)), mask, extras)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Conditioning:
        mask = None if self.mask is None else change(self.mask)
        extras = {name: change(tensor) for name, tensor in self.extras.items()}
        return replace(self, states=change(self.states), mask=mask, extras=extras)

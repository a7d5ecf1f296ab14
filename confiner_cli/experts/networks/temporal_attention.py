"""LaVie's attention over frames: rotary queries and keys, a learned bias by relative position."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

ROTATED = 32
"""Channels of each head that are rotated; the rest pass through."""
BUCKETS = 32
"""Rows of the bias table: half for keys in the past, half for keys in the future."""
EXACT = BUCKETS // 4
"""Distances below this have a row of their own; the others share rows by their logarithm."""
FARTHEST = 32
"""Frames this far apart, and farther, share the last row."""


def _shared_rows() -> tuple[int, ...]:
    """The smallest distance, in frames, of each row that is shared, but for the first of them."""
    rows = BUCKETS // 2 - EXACT
    # With a margin: where a bound is a whole number, rounding may put it on the wrong side.
    return tuple(
        math.ceil(EXACT * (FARTHEST / EXACT) ** (row / rows) - 1e-9) for row in range(1, rows)
    )


def relative_buckets(frames: int, device: torch.device | None = None) -> Tensor:
    """The row of the bias table for every query and key frame, `(frames, frames)`, int64.

    T5's scheme (arXiv 1910.10683). It is made on the device, of whole numbers: nothing is copied
    there or remembered between passes.
    """
    position = torch.arange(frames, device=device)
    past = position[:, None] - position[None, :]
    distance = past.abs()
    row = distance.clamp(max=EXACT)
    for bound in _shared_rows():
        row = row + (distance >= bound)
    return row + BUCKETS // 2 * (past < 0)


class Rotary(nn.Module):
    """Rotary position embedding on pairs of channels, a head's first 32 (arXiv 2104.09864)."""

    freqs: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("freqs", 10_000.0 ** (-torch.arange(0, ROTATED, 2) / ROTATED))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Rotary:
        # Moves with the module, but stays float32: in float16 an angle would have three digits.
        before = self.freqs
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.freqs.dtype != before.dtype:
            self.freqs = before.to(self.freqs.device)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Rotate `(..., frame, channel)` by each frame's own angles."""
        frame = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)
        angle = frame[:, None] * self.freqs.float()
        cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        even, odd = torch.unflatten(x[..., :ROTATED], -1, (-1, 2)).unbind(dim=-1)
        turned = torch.stack((even * cosine - odd * sine, odd * cosine + even * sine), dim=-1)
        return torch.cat((turned.flatten(-2), x[..., ROTATED:]), dim=-1)


class RelativeBias(nn.Module):
    """A number for each head and bucket of relative positions, added to the scaled logits."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(BUCKETS, heads)

    def forward(self, buckets: Tensor) -> Tensor:
        """`(head, query frame, key frame)` of buckets `(query frame, key frame)`."""
        bias: Tensor = self.relative_attention_bias(buckets).permute(2, 0, 1)
        return bias


class TemporalAttention(nn.Module):
    """Every position attends to itself in all frames, past and future.

    Raises:
        ValueError: heads narrower than the 32 channels that are rotated.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width // heads < ROTATED:
            raise ValueError(
                f"{heads} heads of {width // heads} channels: temporal attention needs {ROTATED} "
                "or more"
            )
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.rotary_emb = Rotary()
        self.time_rel_pos_bias = RelativeBias(heads)

    def forward(self, x: Tensor, buckets: Tensor) -> Tensor:
        """Attend in `(batch, frame, channel)`; `buckets` are `relative_buckets` of the frames."""
        q, k, v = (self._split(layer(x)) for layer in (self.to_q, self.to_k, self.to_v))
        bias = self.time_rel_pos_bias(buckets).to(x.dtype)
        seen = scaled_dot_product_attention(
            self.rotary_emb(q), self.rotary_emb(k), v, attn_mask=bias[None]
        )
        out: Tensor = self.to_out[0](seen.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)

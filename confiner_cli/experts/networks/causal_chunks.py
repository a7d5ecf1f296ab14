"""Wan's VAE over a video of any length, a chunk at a time.

Its convolutions over time look back only. Each needs two frames of what came before a chunk, which
are carried from pass to pass: the feature cache of Wan (arXiv 2503.20314), which diffusers'
`AutoencoderKLWan` keeps in itself. So a longer video takes no more memory, and the numbers are
those of `decode` and `encode`, which join all that they make.

Large frames are cut into tiles as `tiled_decode` and `tiled_encode` cut them. There a tile is coded
to its end before the next one. Here time is the outer loop, and each tile carries its own cache:
together, as they overlap, more than a whole frame would. What they save is the layers' own room.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from typing import Any, TypeAlias

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanCausalConv3d,
    patchify,
    unpatchify,
)
from torch import Tensor, nn

Computing: TypeAlias = Callable[[], AbstractContextManager[Any]]
"""Gives an AutoencoderKLWan for as long as it is entered, which it is for each chunk."""
Cache: TypeAlias = list[Any]
"""What the causal convolutions of a network carry on of one tile; empty before its first chunk."""
Caches: TypeAlias = defaultdict[tuple[int, int], Cache]
"""By the upper left corner of the tile."""


@dataclass(frozen=True)
class Tiling:
    """How large frames are cut; the numbers are Wan's and diffusers'.

    Attributes:
        largest: pixels of a frame that is not cut.
        size: pixels of a tile's side.
        stride: pixels from one tile to the next; the rest of the size is blended.
    """

    largest: int = 480 * 832
    size: int = 256
    stride: int = 192


@dataclass(frozen=True)
class _Tiles:
    """The same of what goes in (`size`, `stride`) and what comes out (`kept`, `blended`)."""

    size: int
    stride: int
    kept: int
    blended: int


TILING = Tiling()
WHOLE = _Tiles(size=sys.maxsize, stride=sys.maxsize, kept=sys.maxsize, blended=0)


@torch.no_grad()
def decoded(computing: Computing, latents: Tensor, tiling: Tiling = TILING) -> Iterator[Tensor]:
    """Decode latents as the VAE has them, one latent frame after another.

    Args:
        computing: gives the VAE.
        latents: `(1, channel, latent frame, height, width)`, in the VAE's precision, on its device.
        tiling: how large frames are cut.

    Yields:
        `(1, 3, frame, ...)`, about [-1, 1], to which diffusers clamps it: one frame of the first
        latent frame, `scale_factor_temporal` of each later one.
    """
    caches: Caches = defaultdict(list)
    for latent in torch.split(latents, 1, dim=2):
        with computing() as vae:
            tiles = _tiles_of_latents(vae, latent, tiling)
            patches = _by_tiles(partial(_decode, vae), latent, tiles, caches)
            pixels: Tensor = unpatchify(patches, _patch(vae))
        yield pixels


@torch.no_grad()
def encoded(
    computing: Computing, chunks: Iterable[Tensor], tiling: Tiling = TILING
) -> Iterator[Tensor]:
    """Encode a video, one chunk after another, without noise: the posterior's mode.

    Args:
        computing: gives the VAE.
        chunks: `(1, 3, frame, height, width)` in [-1, 1], in the VAE's precision, on its device:
            the first frame alone, then `scale_factor_temporal` frames each.
        tiling: how large frames are cut.

    Yields:
        Latents as the VAE has them, `(1, channel, 1, ...)`, of each chunk.
    """
    caches: Caches = defaultdict(list)
    for chunk in chunks:
        with computing() as vae:
            tiles = _tiles_of_pixels(vae, chunk, tiling)
            patches = patchify(chunk, _patch(vae))
            moments = _by_tiles(partial(_encode, vae), patches, tiles, caches)
        yield moments.chunk(2, dim=1)[0]


def chunks_of(parts: Iterable[Tensor], time_factor: int) -> Iterator[Tensor]:
    """Frames as they are encoded: the first one alone, then `time_factor` at a time.

    Args:
        parts: `(frame, ...)`, with any number of frames each.
        time_factor: frames of a latent frame after the first.

    Raises:
        ValueError: a last latent frame has not all of its frames.
    """
    held: list[Tensor] = []
    wanted = 1
    for frame in chain.from_iterable(torch.split(part, 1) for part in parts):
        held.append(frame)
        if len(held) == wanted:
            yield torch.cat(held)
            held, wanted = [], time_factor
    if held:
        raise ValueError(f"the last latent frame has {len(held)} frames of {wanted}")


def _decode(vae: Any, latents: Tensor, cache: Cache) -> Tensor:
    is_first = not cache
    if is_first:
        cache += _nothing_carried(vae.decoder)
    given = vae.post_quant_conv(latents)
    pixels: Tensor = vae.decoder(given, feat_cache=cache, feat_idx=[0], first_chunk=is_first)
    return pixels


def _encode(vae: Any, pixels: Tensor, cache: Cache) -> Tensor:
    if not cache:
        cache += _nothing_carried(vae.encoder)
    moments: Tensor = vae.quant_conv(vae.encoder(pixels, feat_cache=cache, feat_idx=[0]))
    return moments


def _nothing_carried(network: nn.Module) -> Cache:
    """A place for each convolution, of which those of shortcuts need none."""
    return [None for layer in network.modules() if isinstance(layer, WanCausalConv3d)]


def _patch(vae: Any) -> int:
    """Pixels of a side that the VAE takes as one, each a channel of it: 2 in Wan 2.2's, else 1."""
    return vae.config.patch_size or 1


def _tiles_of_latents(vae: Any, latents: Tensor, tiling: Tiling) -> _Tiles:
    factor, patch = vae.config.scale_factor_spatial, _patch(vae)
    height, width = latents.shape[-2:]
    if height * width * factor**2 <= tiling.largest:
        return WHOLE
    size, stride = tiling.size, tiling.stride
    return _Tiles(size // factor, stride // factor, stride // patch, (size - stride) // patch)


def _tiles_of_pixels(vae: Any, pixels: Tensor, tiling: Tiling) -> _Tiles:
    """A tile's sides are counted in patches here, as `tiled_encode` does, and not in pixels."""
    factor = vae.config.scale_factor_spatial // _patch(vae)
    height, width = pixels.shape[-2:]
    if height * width <= tiling.largest:
        return WHOLE
    size, stride = tiling.size, tiling.stride
    return _Tiles(size, stride, stride // factor, (size - stride) // factor)


def _by_tiles(
    code: Callable[[Tensor, Cache], Tensor], chunk: Tensor, tiles: _Tiles, caches: Caches
) -> Tensor:
    """A chunk coded tile by tile, and put together."""
    height, width = chunk.shape[-2:]
    rows = []
    for top in range(0, height, tiles.stride):
        row = []
        for left in range(0, width, tiles.stride):
            tile = chunk[..., top : top + tiles.size, left : left + tiles.size]
            row.append(code(tile, caches[top, left]))
        rows.append(row)
    _blend(rows, tiles.blended)
    return torch.cat([_side_by_side(row, slice(tiles.kept)) for row in rows], dim=-2)


def _side_by_side(row: list[Tensor], kept: slice) -> Tensor:
    return torch.cat([tile[..., kept, kept] for tile in row], dim=-1)


def _blend(rows: list[list[Tensor]], most: int) -> None:
    """Let each tile begin as the one above it ends, then as the one on its left does."""
    for number, row in enumerate(rows):
        if number:
            for above, tile in zip(rows[number - 1], row, strict=True):
                _fade(above, tile, most, dim=-2)
        for left, tile in pairwise(row):
            _fade(left, tile, most, dim=-1)


def _fade(before: Tensor, tile: Tensor, most: int, dim: int) -> None:
    """Fade from the end of one tile to the begin of the next, which is changed."""
    length = min(before.shape[dim], tile.shape[dim], most)
    end = before.narrow(dim, before.shape[dim] - length, length)
    begin = tile.narrow(dim, 0, length)
    share = torch.arange(length, dtype=tile.dtype, device=tile.device) / length
    share = share.view(-1, *[1] * (-1 - dim))
    begin.copy_(end * (1 - share) + begin * share)

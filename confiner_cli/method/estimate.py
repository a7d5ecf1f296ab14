"""What an expert believes of a sample, which belongs to no schedule, and how networks say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from confiner_cli.method.schedule import Level
from confiner_cli.method.tensor import Tensor


@dataclass(frozen=True)
class Estimate:
    """What an expert believes of a sample: its clean latents and its noise.

    Attributes:
        clean: shaped like the sample.
        noise: shaped like the sample, of about unit variance.
        passes: what the estimate cost, in passes through a network: 1, or 2 with guidance.
    """

    clean: Tensor
    noise: Tensor
    passes: int = 1


def clean_left(x_t: Tensor, noise: Tensor, level: Level) -> Tensor:
    """What is left of a sample without its noise, `(x_t - noise * eps) / signal`.

    Raises:
        ValueError: the level is pure noise: whatever is clean, the sample is the same.
    """
    if level.signal == 0:
        raise ValueError(
            "of pure noise (signal 0) an epsilon prediction says nothing about the clean latents: "
            "v_prediction and sample do"
        )
    return (x_t - level.noise * noise) / level.signal


def noise_left(x_t: Tensor, clean: Tensor, level: Level) -> Tensor:
    """What is left of a sample without its clean latents, `(x_t - signal * clean) / noise`.

    Raises:
        ValueError: the level has no noise: whatever the noise is, the sample is the same.
    """
    if level.noise == 0:
        raise ValueError("clean latents (noise 0) say nothing about the noise that is not in them")
    return (x_t - level.signal * clean) / level.noise


def _of_epsilon(x_t: Tensor, output: Tensor, level: Level) -> Estimate:
    return Estimate(clean=clean_left(x_t, output, level), noise=output)


def _of_sample(x_t: Tensor, output: Tensor, level: Level) -> Estimate:
    return Estimate(clean=output, noise=noise_left(x_t, output, level))


def _of_v(x_t: Tensor, output: Tensor, level: Level) -> Estimate:
    """`v = signal * eps - noise * clean` (Salimans and Ho, arXiv 2202.00512), at any level."""
    signal, noise = level
    norm = signal**2 + noise**2
    clean = (signal * x_t - noise * output) / norm
    return Estimate(clean=clean, noise=(noise * x_t + signal * output) / norm)


def _of_flow(x_t: Tensor, output: Tensor, level: Level) -> Estimate:
    """`v = eps - clean` (arXiv 2209.03003), at any level: nothing is divided by the signal."""
    signal, noise = level
    total = signal + noise
    clean = (x_t - noise * output) / total
    return Estimate(clean=clean, noise=(x_t + signal * output) / total)


PREDICTION_TYPES: dict[str, Callable[[Tensor, Tensor, Level], Estimate]] = {
    "epsilon": _of_epsilon,
    "v_prediction": _of_v,
    "sample": _of_sample,
    "flow_prediction": _of_flow,
}
"""How a network's output is read, by diffusers' names."""


def estimate(prediction_type: str, x_t: Tensor, output: Tensor, level: Level) -> Estimate:
    """Read a network's output as an `Estimate`.

    Args:
        prediction_type: a key of `PREDICTION_TYPES`.
        x_t: the noised sample, any shape.
        output: the network's prediction, shaped like `x_t`.
        level: the level that `x_t` has on the network's own schedule.

    Raises:
        ValueError: the prediction type is unknown, or its prediction says nothing at this level:
            `epsilon` where there is no signal, `sample` where there is no noise.
    """
    if prediction_type not in PREDICTION_TYPES:
        raise ValueError(f"unknown prediction type {prediction_type!r}")
    return PREDICTION_TYPES[prediction_type](x_t, output, level)

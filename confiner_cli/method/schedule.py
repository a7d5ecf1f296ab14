"""Noise schedules: which level of noise each timestep means, and back. Plain numbers, no torch.

`x_t = signal * clean + noise * eps`. A plan and a run ask the same object, so they cannot disagree.
Two experts whose schedules differ share nothing but `clean` (ConFiner, arXiv 2408.13423, section
3.3).
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from confiner_cli.method.tensor import Tensor


class Level(NamedTuple):
    """How much of a noised sample is signal and how much is noise, both in [0, 1].

    Signal 0 is pure noise, noise 0 is clean.
    """

    signal: float
    noise: float

    def mix(self, clean: Tensor, eps: Tensor) -> Tensor:
        """`signal * clean + noise * eps` (any shape): eq. 6 of the paper, and every step."""
        return self.signal * clean + self.noise * eps

    @property
    def log_ratio(self) -> float:
        """`log(noise / signal)`: minus the half log-SNR, infinite for pure noise, -infinite clean.

        It is all that a network can see of a level, since signal and noise may be scaled together.
        """
        if self.signal == 0:
            return math.inf
        if self.noise == 0:
            return -math.inf
        return math.log(self.noise / self.signal)

    @property
    def sigma(self) -> float:
        """The share of noise, `noise / (signal + noise)`, in [0, 1].

        It is the sigma of rectified flow (Liu et al., arXiv 2209.03003), where a sample is
        `(1 - sigma) * clean + sigma * eps`: one number for a level on whatever schedule.
        """
        return self.noise / (self.signal + self.noise)


def flow_level(sigma: float) -> Level:
    """The level of rectified flow with so much noise; `sigma` in [0, 1]."""
    return Level(signal=1.0 - sigma, noise=sigma)


CLEAN = Level(signal=1.0, noise=0.0)
"""A destination of its own, not the first entry of a table (whose noise is 0.03 for SD)."""


class Schedule(Protocol):
    """Two functions, each the inverse of the other, between timesteps and levels."""

    @property
    def num_train_timesteps(self) -> int:
        """How many timesteps it was trained on; strengths are shares of this number."""

    @property
    def last_timestep(self) -> int:
        """The noisiest timestep; they lie in `[0, last_timestep]`."""

    def level(self, t: float) -> Level:
        """The level at timestep `t`. Raises IndexError outside the range."""

    def t(self, level: Level) -> float:
        """The timestep with the noise-to-signal ratio of `level`. Raises ValueError if none has."""

    def matching(self, level: Level) -> float:
        """The nearest timestep that networks were trained on, for any level."""

    def trained(self, t: float) -> float:
        """The nearest timestep that networks were trained on, for one in the range."""

    def told(self, t: float) -> float:
        """What a network is told where its sample has the level of timestep `t`."""


@dataclass(frozen=True)
class Discrete:
    """A variance-preserving schedule of whole timesteps: `signal = sqrt(abar)`.

    At whole timesteps levels are exactly the table's. Between them the logarithm of the
    noise-to-signal ratio is interpolated linearly, as ComfyUI and k-diffusion do.

    Attributes:
        alphas_cumprod: abar by timestep, each smaller than the one before, in [0, 1] (diffusers'
            name). 0 at the end is a schedule that begins with pure noise.

    Raises:
        ValueError: fewer than two timesteps, or a table that does not fall from 1 towards 0.
    """

    alphas_cumprod: tuple[float, ...] = field(repr=False)  # a thousand numbers

    def __post_init__(self) -> None:
        table = self.alphas_cumprod
        if len(table) < 2 or table[0] > 1 or table[-1] < 0:
            raise ValueError("a noise schedule is two or more numbers from 1 (clean) to 0 (noise)")
        if any(later >= earlier for earlier, later in itertools.pairwise(table)):
            raise ValueError("a noise schedule has more noise at each timestep than before it")

    @property
    def num_train_timesteps(self) -> int:
        """How many whole timesteps there are."""
        return len(self.alphas_cumprod)

    @property
    def last_timestep(self) -> int:
        """The table's last entry."""
        return len(self.alphas_cumprod) - 1

    def level(self, t: float) -> Level:
        """The level at timestep `t`. Raises IndexError outside the table."""
        last = self.last_timestep
        if not 0 <= t <= last:
            raise IndexError(f"timestep {t:g} is outside 0..{last}")
        below = math.floor(t)
        if below == t:
            return self._table[below]
        low, high = self._table[below], self._table[below + 1]
        scale = _scale(low, high)
        start, end = scale.of(low), scale.of(high)
        return scale.level(start + (t - below) * (end - start))

    def t(self, level: Level) -> float:
        """The timestep, whole or not, whose noise-to-signal ratio is that of `level`.

        Raises:
            ValueError: no timestep has it.
        """
        ratios, last = self._log_ratios, self.last_timestep
        if not ratios[0] <= level.log_ratio <= ratios[-1]:
            raise ValueError(f"no timestep from 0 to {last} has the level {tuple(level)}")
        below = min(bisect.bisect_right(ratios, level.log_ratio) - 1, last - 1)
        low, high = self._table[below], self._table[below + 1]
        scale = _scale(low, high)
        start, end = scale.of(low), scale.of(high)
        return below + (scale.of(level) - start) / (end - start)

    def matching(self, level: Level) -> int:
        """The whole timestep that is nearest to a level, the first or the last one beyond them."""
        if level.log_ratio <= self._log_ratios[0]:
            return 0
        if level.log_ratio >= self._log_ratios[-1]:
            return self.last_timestep
        return round(self.t(level))

    def trained(self, t: float) -> int:
        """The nearest whole one."""
        return round(t)

    def told(self, t: float) -> float:
        """The timestep itself."""
        return t

    @functools.cached_property
    def _table(self) -> list[Level]:
        return [Level(math.sqrt(abar), math.sqrt(1 - abar)) for abar in self.alphas_cumprod]

    @functools.cached_property
    def _log_ratios(self) -> list[float]:
        return [level.log_ratio for level in self._table]


class _Scale(NamedTuple):
    """What is interpolated linearly: a number that grows with the noise, and back to a level."""

    of: Callable[[Level], float]
    level: Callable[[float], Level]


def _of_log_ratio(log_ratio: float) -> Level:
    ratio = math.exp(log_ratio)
    return Level(1 / math.hypot(1, ratio), ratio / math.hypot(1, ratio))


_LOG_RATIO = _Scale(of=lambda level: level.log_ratio, level=_of_log_ratio)
_ANGLE = _Scale(
    of=lambda level: math.atan2(level.noise, level.signal),
    level=lambda angle: Level(math.cos(angle), math.sin(angle)),
)


def _scale(low: Level, high: Level) -> _Scale:
    """The log ratio; beside pure noise or clean, where it is infinite, the angle."""
    return _LOG_RATIO if low.noise > 0 and high.signal > 0 else _ANGLE


def from_betas(betas: Iterable[float]) -> Discrete:
    """The schedule of these betas, in (0, 1]: abar is the running product of `1 - beta`."""
    alphas = (1 - beta for beta in betas)
    return Discrete(tuple(itertools.accumulate(alphas, operator.mul)))


def _line(start: float, end: float, count: int) -> list[float]:
    """`count` numbers, two or more, in even steps."""
    return [start + (end - start) * step / (count - 1) for step in range(count)]


@functools.cache
def linear(
    beta_start: float = 0.0001, beta_end: float = 0.02, num_train_timesteps: int = 1000
) -> Discrete:
    """Betas on a line: LaVie's with the defaults, AnimateDiff's from 0.00085 to 0.012."""
    return from_betas(_line(beta_start, beta_end, num_train_timesteps))


@functools.cache
def scaled_linear(
    beta_start: float = 0.00085, beta_end: float = 0.012, num_train_timesteps: int = 1000
) -> Discrete:
    """Square roots of the betas on a line: Stable Diffusion's with the defaults."""
    roots = _line(beta_start**0.5, beta_end**0.5, num_train_timesteps)
    return from_betas(root**2 for root in roots)


@functools.cache
def with_zero_snr(schedule: Discrete) -> Discrete:
    """The schedule stretched so that its last timestep is pure noise (arXiv 2305.08891, alg. 1).

    Signals are shifted to end at 0 and scaled to begin where they began.
    """
    signals = [math.sqrt(abar) for abar in schedule.alphas_cumprod]
    first, last = signals[0], signals[-1]
    stretched = ((signal - last) * first / (first - last) for signal in signals)
    return Discrete(tuple(signal**2 for signal in stretched))


BETA_SCHEDULES = {"linear": linear, "scaled_linear": scaled_linear}
"""By diffusers' names."""

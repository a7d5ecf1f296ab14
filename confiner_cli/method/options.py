"""What can be chosen of the method, as frozen values. Names are keys of tables beside their code.

No torch: a plan is made of them without it. Nothing in them is open: defaults of a person's config
are filled in before (`config/resolve.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from confiner_cli.method.schedule import Level

FRAME_NOISES = ("own", "shared")
"""Whether the spatial expert meets fresh noise of each frame's own, or the same in all frames."""
SHUFFLES = ("frames", "none")
"""How a segment orders the common noise: each anew (the paper's), or all alike."""
ALIGNMENTS = ("noise", "frame")
"""What coherence compares: frames that started from the same noise, or frames of one index."""
NOISE_KEYS = ("frame", "window")
"""What the refinement's noise is keyed by: the video's frame, or frame and window."""

BRIDGES = ("residual", "replace")
"""How a crossing comes back to a space that the sample has been in: by the change, or anew."""


@dataclass(frozen=True)
class StructureOptions:
    """How the structure stage samples a draft from noise.

    Attributes:
        expert: the role that samples: `control`, `spatial` or `temporal`.
        num_inference_steps: 1 or more.
        timestep_spacing: a key of `structure.SPACINGS`.
        solver: a key of `solvers.SOLVERS`.
        timesteps: one for each step, from the noisiest down, instead of a spacing; or none.
        renoise: the share of fresh noise in the noise of each step but the first, in [0, 1].
    """

    expert: str = "control"
    num_inference_steps: int = 4
    timestep_spacing: str = "trailing"
    solver: str = "ddim"
    timesteps: tuple[float, ...] = ()
    renoise: float = 0.0


@dataclass(frozen=True)
class RefinementOptions:
    """How the refinement stage walks from timestep `te` to clean.

    Attributes:
        patterns: a key of `refinement.PATTERNS` for each step; none of them is no refinement.
        te: the timestep, on the spatial expert's schedule, or on the temporal one's where that is
            alone, that a draft is noised to (the paper's Te): image-to-image at the strength
            `te / num_train_timesteps`.
        renoise: the share of fresh noise at a hand-over, in [0, 1]: 1 is the paper's.
        timestep_matching: a key of `refinement.TIMESTEP_MATCHINGS`.
        frame_noise: one of `FRAME_NOISES`.
        solver: a key of `solvers.SOLVERS`.
        repeats: how many times `self_refine` asks at each timestep, 1 or more.
        bridge: one of `BRIDGES`, where the experts are in different latent spaces.
    """

    patterns: tuple[str, ...] = ("coordinated",) * 5
    te: float = 100.0
    renoise: float = 1.0
    timestep_matching: str = "same"
    frame_noise: str = "own"
    solver: str = "ddim"
    repeats: int = 2
    bridge: str = "residual"

    @property
    def num_inference_steps(self) -> int:
        """How many steps the refinement has; 0 is none."""
        return len(self.patterns)


@dataclass(frozen=True)
class LongVideoOptions:
    """How the segments of a long video follow each other.

    Attributes:
        consistency: the share of one common noise in the noise of each segment, in [0, 1].
        shuffle: one of `SHUFFLES`.
        coherence: gamma of the paper's eq. 12, in [0, 0.5]; 0 is off.
        align: one of `ALIGNMENTS`.
        noise_by: one of `NOISE_KEYS`.
        turn: whether a segment that would start a motion over is played backwards.
    """

    consistency: float = 1.0
    shuffle: str = "frames"
    coherence: float = 0.0
    align: str = "noise"
    noise_by: str = "frame"
    turn: bool = False


@dataclass(frozen=True)
class GuidanceOptions:
    """Classifier-free guidance of one expert: how strong, and between which noise levels.

    Attributes:
        scale: 1 is no guidance.
        low, high: guidance holds where the noise of the level is in `[low, high]`
            (arXiv 2404.07724); 0 is clean, 1 is pure noise.
    """

    scale: float = 1.0
    low: float = 0.0
    high: float = 1.0

    def applies(self, level: Level) -> bool:
        """Whether an estimate at this level is guided."""
        return self.scale != 1.0 and self.low <= level.noise <= self.high

    def passes(self, level: Level) -> int:
        """How many passes through the network an estimate at this level takes: 2 where guided."""
        return 2 if self.applies(level) else 1

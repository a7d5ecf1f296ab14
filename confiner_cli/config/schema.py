"""What a run is, as frozen values: the schema of `configs/` and all that the method knows of it. No torch, no Hydra.

Names are diffusers' where diffusers has one; sizes are height x width in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from confiner_cli.method.schedule import BETA_SCHEDULES, Discrete

MISSING: Any = "???"
ROLES = ("control", "spatial", "temporal")


@dataclass(frozen=True)
class LoraSettings:
    """One LoRA: where it is, as models are named, and how strongly it acts."""

    path: str = MISSING
    scale: float = 1.0


@dataclass(frozen=True)
class ExpertSettings:
    """One expert: where its weights are, which schedule it was trained on, how strongly it is guided.

    A model is a folder in diffusers' layout, a single file, `owner/name[@revision][:file]` on the hub, or
    `embedded:NAME`. The schedule stated here is the authority, whatever a folder's scheduler_config.json says.

    Attributes:
        family: which kind of network it is: a file in `experts/families/`.
        model: where its parts are.
        shared: where the parts are that the model does not have.
        motion_adapter: AnimateDiff's own place; `{steps}` stands for the structure's number of steps.
        architecture: which published network it is, where it is one.
        pickles: weights that are published as pickles (.bin) only are taken, too, read with `weights_only`.
        latent_space: experts of a set must share it; a VAE decodes from one only.
        loras: adapters merged into its UNet and text encoder.
        beta_schedule, beta_start, beta_end, num_train_timesteps, prediction_type: as in diffusers' schedulers.
        guidance_scale: 1 is no guidance.
        max_frames: how many frames it takes at once.
        distilled_steps: the numbers of steps that it was distilled for, if it was: it can make a structure in no other.
        least_steps: fewer steps of a structure are too few for it.
        licence, size: of the weights, as published.
    """

    family: str = MISSING
    model: str = MISSING
    shared: str | None = None
    motion_adapter: str | None = None
    architecture: str | None = None
    pickles: bool = False
    latent_space: str = "stable_diffusion"
    loras: list[LoraSettings] = field(default_factory=list)
    beta_schedule: str = MISSING
    beta_start: float = MISSING
    beta_end: float = MISSING
    num_train_timesteps: int = 1000
    prediction_type: str = "epsilon"
    guidance_scale: float = 1.0
    max_frames: int = 16
    distilled_steps: list[int] = field(default_factory=list)
    least_steps: int = 1
    licence: str = ""
    size: str = ""

    @property
    def schedule(self) -> Discrete:
        """The noise schedule that it states."""
        betas = BETA_SCHEDULES[self.beta_schedule]
        return betas(self.beta_start, self.beta_end, self.num_train_timesteps)


@dataclass(frozen=True)
class ExpertSetSettings:
    """Three experts that share a latent space, and the sizes that they were made for.

    `knows` is a JSON file that lists all the words the experts have learnt, where they are few enough to be listed.
    `turn` says that their motions may be played backwards in long videos.
    """

    name: str = MISSING
    description: str = ""
    height: int = MISSING
    width: int = MISSING
    num_frames: int = 16
    fps: int = 8
    control: ExpertSettings = field(default_factory=ExpertSettings)
    spatial: ExpertSettings = field(default_factory=ExpertSettings)
    temporal: ExpertSettings = field(default_factory=ExpertSettings)
    knows: str | None = None
    turn: bool = False

    def role(self, name: str) -> ExpertSettings:
        """The expert of the role `control`, `spatial` or `temporal`."""
        return {"control": self.control, "spatial": self.spatial, "temporal": self.temporal}[name]


@dataclass(frozen=True)
class StructureSettings:
    """The structure stage: which expert samples from noise, in how many steps, on which timesteps.

    `timestep_spacing` is `trailing` (Euler as AnimateDiff-Lightning uses it) or `leading` (DDIM as Stable Diffusion).
    """

    expert: str = "control"
    num_inference_steps: int = 4
    timestep_spacing: str = "trailing"


@dataclass(frozen=True)
class RefinementSettings:
    """The refinement stage: from timestep `te` to clean in uniform steps (0 steps: none).

    `pattern` names one pattern for all steps or lists one a step; `hop_noise` is `fresh` (1, the paper's),
    `predicted` (0) or a number between; `timestep_matching` is `same` (the paper's) or `snr`; `frame_noise` is `own`
    (the paper's) or `shared`: the spatial expert meets the same noise in every frame, the temporal one never does.
    """

    num_inference_steps: int = 5
    te: int = 100
    pattern: Any = "coordinated"
    hop_noise: Any = "fresh"
    timestep_matching: str = "same"
    frame_noise: str = "own"


@dataclass(frozen=True)
class SchedulerSettings:
    """Both stages, and the noise levels (0 clean, 1 noise) at which guidance is applied at all."""

    name: str = MISSING
    description: str = ""
    structure: StructureSettings = field(default_factory=StructureSettings)
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    guidance_interval: list[float] = field(default_factory=lambda: [0.0, 1.0])


@dataclass(frozen=True)
class LongVideoSettings:
    """How a video is made that is longer than the experts take at once; `none` refuses it.

    Attributes:
        segment_frames: a structure's length; None is the experts' own, or as much of it as they take with the overlap.
        consistency: the share of one common noise in the noise that segments start from, in [0, 1].
        shuffle: how each segment orders the common noise: `frames` (the paper's) or `none`.
        coherence: gamma of eq. 12; 0 is off.
        align: what coherence compares: frames that started from the same noise (`noise`), or of one index (`frame`).
        staggered: whether refinement windows lie across the seams between structures (eq. 13).
        window_overlap: how many frames adjacent windows both refine; None is half a segment where the experts take it,
            else a quarter.
        noise_by: what the refinement's noise is keyed by: the video's `frame`, or frame and `window`.
        turn: whether a segment that would start a motion over is played backwards; None: as the experts have it.
    """

    name: str = MISSING
    description: str = ""
    segment_frames: int | None = None
    consistency: float = 1.0
    shuffle: str = "frames"
    coherence: float = 0.0
    align: str = "noise"
    staggered: bool = True
    window_overlap: int | None = None
    noise_by: str = "frame"
    turn: bool | None = None


@dataclass(frozen=True)
class GivenSettings:
    """What is given in the place of the structure stage: a `video` to refine, or None; `sha256` is the file's."""

    video: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class OutputSettings:
    """Where a run goes and what it keeps."""

    dir: str | None = None
    metadata: bool = True
    save_latents: bool = False


@dataclass(frozen=True)
class Settings:
    """Everything that `confiner generate` can be told. None means the expert set's own value.

    Attributes:
        prompts: by frame, the prompts that take over from `prompt` there.
        num_frames: a number, or `inf`: until Ctrl-C.
        resume: whether to go on with the run in `output.dir`, if there is one.
    """

    prompt: str = ""
    prompts: dict[int, str] = field(default_factory=dict)
    negative_prompt: str = ""
    seed: int | None = None
    num_frames: int | float | None = None
    height: int | None = None
    width: int | None = None
    fps: int | float | None = None
    device: str = "auto"
    dtype: str = "auto"
    memory: str = "auto"
    frame_batch: int | None = None
    resume: bool = False
    experts: ExpertSetSettings = field(default_factory=ExpertSetSettings)
    scheduler: SchedulerSettings = field(default_factory=SchedulerSettings)
    long_video: LongVideoSettings = field(default_factory=LongVideoSettings)
    structure: GivenSettings = field(default_factory=GivenSettings)
    output: OutputSettings = field(default_factory=OutputSettings)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, once they are resolved."""
        assert self.height is not None and self.width is not None
        return self.height, self.width

    @property
    def length(self) -> float:
        """The number of frames, once it is resolved; it may be `math.inf`."""
        assert self.num_frames is not None
        return self.num_frames

    def expert(self, role: str) -> ExpertSettings:
        """The expert of a role, its motion adapter being the one for the structure's number of steps."""
        chosen, steps = self.experts.role(role), self.scheduler.structure.num_inference_steps
        if chosen.motion_adapter is None:
            return chosen
        return replace(chosen, motion_adapter=chosen.motion_adapter.replace("{steps}", str(steps)))

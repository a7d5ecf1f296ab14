"""What a person may ask for, as frozen values: the schema of `configs/`. No torch, no Hydra.

None is what is left open, for the experts or `resolve` to fill in. Names are diffusers' where
diffusers has one; sizes are height x width in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.spec import ExpertSpec

MISSING: Any = "???"
"""OmegaConf's word for what a config has to state."""
ROLES = ("control", "spatial", "temporal")
EXECUTORS = (HERE, PROCESSES, RAY) = ("here", "processes", "ray")
"""Who does the tasks of a run."""
OF_THE_COMMAND = ("resume", "batch", "seeds", "objective", "executor", "workers")
"""Settings of how a command carries out runs: from Python there are none."""
OF_THE_RUN = (*OF_THE_COMMAND, "threads", "compile")
"""Settings of how a run is carried out: beside `output` all that decides nothing of its video, but
for last bits."""


def unstated() -> ExpertSpec:
    """An expert of which a config has to say what it is."""
    return ExpertSpec(family=MISSING, model=MISSING)


@dataclass(frozen=True)
class ExpertSetSettings:
    """The experts of a set, and the sizes that they were made for.

    Attributes:
        name, description: of the set.
        height, width, num_frames, fps: what a video has that is not told otherwise.
        control, spatial, temporal: the experts; None where the set has none in this role.
        knows: a JSON file that lists all words that the experts have learnt, where they are few.
        turn: whether their motions may be played backwards in long videos.
    """

    name: str = MISSING
    description: str = ""
    height: int = MISSING
    width: int = MISSING
    num_frames: int = 16
    fps: int = 8
    control: ExpertSpec | None = field(default_factory=unstated)
    spatial: ExpertSpec | None = field(default_factory=unstated)
    temporal: ExpertSpec | None = field(default_factory=unstated)
    knows: str | None = None
    turn: bool = False

    def by_role(self) -> dict[str, ExpertSpec]:
        """The experts that there are, by their roles."""
        roles = {"control": self.control, "spatial": self.spatial, "temporal": self.temporal}
        return {role: expert for role, expert in roles.items() if expert is not None}

    def role(self, name: str) -> ExpertSpec:
        """The expert of one role.

        Raises:
            ConfinerError: the set has none.
        """
        experts = self.by_role()
        if name not in experts:
            raise ConfinerError(
                f"experts={self.name} has no {name} expert, which is asked",
                f"experts/{name}= names one, or ask {' and '.join(experts)} alone: a pattern such "
                "as scheduler.refinement.pattern=temporal_only",
            )
        return experts[name]


@dataclass(frozen=True)
class StructureSettings:
    """The structure stage: which expert drafts, in how many steps, on which timesteps.

    Attributes:
        expert: the role that samples from noise.
        num_inference_steps: as diffusers has it.
        timestep_spacing: `trailing` (Euler as AnimateDiff-Lightning uses it) or `leading` (DDIM as
            Stable Diffusion); a flow model has its own, shifted.
        timesteps: those of all steps, from the noisiest down, in the place of a spacing; none are
            those that the expert was distilled for, if it was.
        step_noise: the noise of each next step: `predicted` (0), `fresh` (1, as models distilled to
            consistency are sampled) or a number; None is as the expert was distilled.
        solver: `ddim`, `dpmpp_2m` or `unipc`.
    """

    expert: str = "control"
    num_inference_steps: int = 4
    timestep_spacing: str = "trailing"
    timesteps: list[float] = field(default_factory=list)
    step_noise: Any = None
    solver: str = "ddim"


@dataclass(frozen=True)
class RefinementSettings:
    """The refinement stage: from timestep `te` to clean in uniform steps.

    Attributes:
        num_inference_steps: 0 is no refinement.
        te: the paper's Te; image-to-image at the strength `te / num_train_timesteps`. It is on the
            spatial expert's schedule; on the temporal one's where that is alone.
        pattern: which experts are asked at each step: one name for all steps, or a list.
        hop_noise: the noise at a hand-over: `fresh` (1, the paper's), `predicted` (0) or a number.
        timestep_matching: `same` (the paper's) or `snr`: the temporal expert's timestep with the
            spatial one's noise-to-signal ratio.
        frame_noise: `own` (the paper's) or `shared`: the spatial expert meets the same noise in
            every frame, the temporal one never does.
        solver: as in the structure stage, where one expert alone refines.
        repeats: how many times the pattern `self_refine` asks at each timestep.
        bridge: how the sample comes back to a latent space, where the experts have different ones:
            by its change (`residual`), or encoded anew (`replace`).
    """

    num_inference_steps: int = 5
    te: int | float = 100
    pattern: Any = "coordinated"
    hop_noise: Any = "fresh"
    timestep_matching: str = "same"
    frame_noise: str = "own"
    solver: str = "ddim"
    repeats: int = 2
    bridge: str = "residual"


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
        segment_frames: a structure's length; None is the experts' own, or as much of it as they
            take with the overlap.
        consistency: the share of one common noise in the noise of each segment, in [0, 1].
        shuffle: how each segment orders the common noise: `frames` (the paper's) or `none`.
        coherence: gamma of eq. 12; 0 is off.
        align: what coherence compares: frames that started from the same noise (`noise`), or of
            one index (`frame`).
        staggered: whether windows lie across the seams between structures (eq. 13).
        window_overlap: how many frames adjacent windows both refine; None is half a segment where
            the experts take it, else a quarter.
        noise_by: what the refinement's noise is keyed by: the video's `frame`, or also `window`.
        turn: whether a segment that would start a motion over is played backwards; None is as the
            experts have it.
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
class SourceVideoSettings:
    """A person's own `video` in the structure stage's place, or None; `sha256` is the file's."""

    video: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class OutputSettings:
    """Where a run goes and what it keeps.

    Attributes:
        dir: the run's folder; None is a new one.
        format: of the finished video: `mp4`, `gif`, `webm`, `apng` or `webp`.
        audio: what becomes of the sound of `structure.video`: `copy`, where it fits, or `none`.
        metadata: whether the finished video says how it was made.
        structure: what structure.mp4 is decoded by: `full`, the VAE, or `preview`, a cheap decoder
            that the spatial expert names; False is no such file. `full` takes 6 to 19 percent of
            a run's operations, and is the default, since only the same decoder shows what the
            refinement has changed.
        save_latents: whether latents.safetensors is kept.
        measure: whether run.json has measures of the finished video.
    """

    dir: str | None = None
    format: str = "mp4"
    audio: str = "copy"
    metadata: bool = True
    structure: bool | str = "full"
    save_latents: bool = False
    measure: bool = False


@dataclass(frozen=True)
class Settings:
    """Everything that `confiner generate` can be told.

    Attributes:
        prompt, negative_prompt: what the video shows, and what not.
        prompts: by frame, the prompts that take over from `prompt` there.
        prompt_weighting: whether prompts are read as A1111 reads them, `(word:1.3)` and all of a
            long one, and not verbatim.
        seed: None draws one.
        num_frames: a number, or `inf`: until Ctrl-C.
        height, width, fps: of the video.
        device, dtype, memory: where, in which precision, and what stays on a GPU.
        threads: how many compute on the CPU: `auto` or a number.
        strength: the share of noise that the refinement begins with, in (0, 1), on whatever
            schedule: in place of `scheduler.refinement.te`, unless it is None.
        compile: whether networks are compiled: `False`, `True`, or `regional`, their blocks alone.
        frame_batch: frames that the spatial expert sees at once; None is what `memory` chooses.
        resume: whether to go on with the run in `output.dir`, if there is one.
        executor: who does the tasks of a run: this process (`here`), `processes` of this machine,
            or actors of a `ray` cluster.
        workers: how many there are; None is one a GPU, or as many as the CPUs keep busy.
        batch: how many seeds of a sweep are sampled in one forward.
        seeds: those of one such batch; a sweep fills it in.
        objective: which number of a finished run a sweep returns to its sweeper.
        experts, scheduler, long_video: the groups.
        structure: what takes the place of the structure stage.
        output: where a run goes and what it keeps.
    """

    prompt: str = ""
    prompts: dict[int, str] = field(default_factory=dict)
    negative_prompt: str = ""
    prompt_weighting: bool = False
    seed: int | None = None
    num_frames: int | float | None = None
    height: int | None = None
    width: int | None = None
    fps: int | float | None = None
    device: str = "auto"
    dtype: str = "auto"
    memory: str = "auto"
    threads: Any = "auto"
    strength: float | None = None
    compile: bool | str = False
    frame_batch: int | None = None
    resume: bool = False
    executor: str = "here"
    workers: int | None = None
    batch: int = 1
    seeds: list[int] = field(default_factory=list)
    objective: str | None = None
    experts: ExpertSetSettings = field(default_factory=ExpertSetSettings)
    scheduler: SchedulerSettings = field(default_factory=SchedulerSettings)
    long_video: LongVideoSettings = field(default_factory=LongVideoSettings)
    structure: SourceVideoSettings = field(default_factory=SourceVideoSettings)
    output: OutputSettings = field(default_factory=OutputSettings)

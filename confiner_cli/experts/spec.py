"""What an expert is before it is loaded: its weights, its schedule, its guidance. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from confiner_cli.method.schedule import BETA_SCHEDULES, Discrete, with_zero_snr
from confiner_cli.weights.model_ref import Requirement, model_ref

NETWORKS = ("unet", "transformer", "motion_adapter", "scheduler")
TEXT = ("text_encoder", "tokenizer")
PICTURE = ("vae",)


@dataclass(frozen=True)
class LoraSpec:
    """One LoRA: where it is, as models are named, and how strongly it acts."""

    path: str
    scale: float = 1.0


@dataclass(frozen=True)
class EmbeddingSpec:
    """One learnt word (textual inversion): where it is, as models are named, and its name."""

    path: str
    token: str


@dataclass(frozen=True, kw_only=True)
class ExpertSpec:
    """One expert: where its weights are, which schedule it was trained on, how it is guided.

    A model is a folder in diffusers' layout, a single file, `owner/name[@revision][:file]` on the
    hub, or `embedded:NAME`. The schedule stated here is the authority, whatever a folder's
    scheduler_config.json says.

    Attributes:
        family: which kind of network it is: a file in `experts/families/`.
        model: where its components are.
        shared: where the components are that the model does not have.
        motion_adapter: AnimateDiff's own place; `{steps}` stands for the structure's number of
            steps.
        preview: a cheap decoder of the same latents, for `output.structure=preview`: a folder with
            an AutoencoderTiny, such as TAESD. The spatial expert's is used, whose VAE it stands
            for.
        architecture: which published network it is, where it is one.
        pickles: weights that are published as pickles (.bin) only are taken, too, read with
            `weights_only`.
        latent_space: experts of a set must share it; a VAE decodes from one only.
        loras: adapters merged into its UNet and text encoder.
        embeddings: words that its text encoder is given.
        clip_skip: as in diffusers' pipelines: how many of its text encoder's last layers a prompt
            does not pass; a negative prompt passes all.
        beta_schedule, beta_start, beta_end, num_train_timesteps, prediction_type,
            rescale_betas_zero_snr: as in diffusers' schedulers.
        guidance_scale: 1 is no guidance.
        max_frames: how many frames it takes at once.
        distilled_steps: the numbers of steps that it was distilled for, if it was: it can make a
            structure in no other.
        least_steps: fewer steps of a structure are too few for it.
        licence, size: of the weights, as published.
    """

    family: str
    model: str
    shared: str | None = None
    motion_adapter: str | None = None
    preview: str | None = None
    architecture: str | None = None
    pickles: bool = False
    latent_space: str = "stable_diffusion"
    loras: list[LoraSpec] = field(default_factory=list)
    embeddings: list[EmbeddingSpec] = field(default_factory=list)
    clip_skip: int = 0
    beta_schedule: str
    beta_start: float
    beta_end: float
    num_train_timesteps: int = 1000
    prediction_type: str = "epsilon"
    rescale_betas_zero_snr: bool = False
    guidance_scale: float = 1.0
    max_frames: int = 16
    distilled_steps: list[int] = field(default_factory=list)
    least_steps: int = 1
    licence: str = ""
    size: str = ""

    @property
    def schedule(self) -> Discrete:
        """The noise schedule that it states."""
        make = BETA_SCHEDULES[self.beta_schedule]
        schedule = make(self.beta_start, self.beta_end, self.num_train_timesteps)
        return with_zero_snr(schedule) if self.rescale_betas_zero_snr else schedule

    def for_steps(self, num_inference_steps: int) -> ExpertSpec:
        """The same expert, its motion adapter being the one for a structure of so many steps."""
        if self.motion_adapter is None:
            return self
        named = self.motion_adapter.replace("{steps}", str(num_inference_steps))
        return replace(self, motion_adapter=named)


def requirements(role: str, spec: ExpertSpec) -> Iterator[tuple[str, Requirement]]:
    """The models that an expert is made of, each with the name of the setting that says where.

    The VAE comes with the spatial expert.
    """
    shared = (*TEXT, *PICTURE) if role == "spatial" else TEXT
    yield "model", Requirement(model_ref(spec.model), (*NETWORKS, *shared), spec.pickles)
    if spec.shared:
        yield "shared", Requirement(model_ref(spec.shared), shared, spec.pickles)
    if spec.motion_adapter:
        yield "motion_adapter", Requirement(model_ref(spec.motion_adapter))
    if spec.preview:
        yield "preview", Requirement(model_ref(spec.preview))
    for lora in spec.loras:
        yield "loras", Requirement(model_ref(lora.path))
    for embedding in spec.embeddings:
        yield "embeddings", Requirement(model_ref(embedding.path))

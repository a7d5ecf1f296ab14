"""What an expert is before it is loaded: its weights, its schedule, its guidance. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from confiner_cli.experts.latent_spaces import LATENT_SPACES
from confiner_cli.method.flow import Flow, dynamic_shift
from confiner_cli.method.latent_space import LatentSpace
from confiner_cli.method.schedule import BETA_SCHEDULES, Schedule, with_zero_snr
from confiner_cli.weights.model_ref import Requirement, model_ref

TEXT = ("text_encoder", "tokenizer")
PICTURE = ("vae",)
FLOW = "flow_prediction"
"""What networks on a flow schedule predict: all others are on one of betas."""


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
        network: which of them is the network: `unet`, `transformer`, `transformer_2`.
        shared: where the components are that the model does not have.
        text_encoder: a pipeline folder whose text encoder and tokenizer are taken in the place of
            the model's, where that is on the hub: a repository that has them smaller.
        motion_adapter: AnimateDiff's own place; `{steps}` stands for the structure's number of
            steps.
        preview: a cheap decoder of the same latents, for `output.structure=preview`: a folder with
            an AutoencoderTiny, such as TAESD. It stands for the VAE of the same expert.
        architecture: which published network it is, where it is one.
        pickles: weights that are published as pickles (.bin) only are taken, too, read with
            `weights_only`.
        latent_space: a key of `LATENT_SPACES`; a VAE decodes from one only.
        vae: whether the experts of its latent space share its VAE; None leaves that to
            `sharing_vaes`.
        loras: adapters merged into its UNet and text encoder.
        embeddings: words that its text encoder is given.
        clip_skip: as in diffusers' pipelines: how many of its text encoder's last layers a prompt
            does not pass; a negative prompt passes all.
        beta_schedule, beta_start, beta_end, num_train_timesteps, prediction_type,
            rescale_betas_zero_snr: as in diffusers' schedulers. A flow model has no betas.
        flow_shift: as in diffusers' schedulers; of a flow model alone.
        base_shift, max_shift, base_image_seq_len, max_image_seq_len: as in diffusers' schedulers,
            where the shift is that of the number of tokens instead.
        whole_timesteps: as `Flow.whole`.
        guidance_scale: 1 is no guidance.
        max_frames: how many frames it takes at once.
        distilled_steps: the numbers of steps that it was distilled for, if it was: it can make a
            structure in no other.
        distilled_timesteps: where these steps lie, if they were chosen one by one.
        step_noise: the noise of each next step that it was distilled with: `fresh` or `predicted`.
        least_steps: fewer steps of a structure are too few for it.
        licence, size: of the weights, as published.
    """

    family: str
    model: str
    network: str = "unet"
    shared: str | None = None
    text_encoder: str | None = None
    motion_adapter: str | None = None
    preview: str | None = None
    architecture: str | None = None
    pickles: bool = False
    latent_space: str = "stable_diffusion"
    vae: bool | None = None
    loras: list[LoraSpec] = field(default_factory=list)
    embeddings: list[EmbeddingSpec] = field(default_factory=list)
    clip_skip: int = 0
    beta_schedule: str | None = None
    beta_start: float | None = None
    beta_end: float | None = None
    num_train_timesteps: int = 1000
    prediction_type: str = "epsilon"
    rescale_betas_zero_snr: bool = False
    flow_shift: float | None = None
    base_shift: float | None = None
    max_shift: float | None = None
    base_image_seq_len: int = 256
    max_image_seq_len: int = 4096
    whole_timesteps: bool = False
    guidance_scale: float = 1.0
    max_frames: int = 16
    distilled_steps: list[int] = field(default_factory=list)
    distilled_timesteps: list[float] = field(default_factory=list)
    step_noise: str = "predicted"
    least_steps: int = 1
    licence: str = ""
    size: str = ""

    @property
    def schedule(self) -> Schedule:
        """The noise schedule that it states.

        Raises:
            ValueError: it states none.
        """
        if self.prediction_type == FLOW:
            return Flow(self.flow_shift or 1.0, self.num_train_timesteps, self.whole_timesteps)
        if self.beta_schedule is None or self.beta_start is None or self.beta_end is None:
            raise ValueError("an expert that predicts no flow has a schedule of betas")
        make = BETA_SCHEDULES[self.beta_schedule]
        schedule = make(self.beta_start, self.beta_end, self.num_train_timesteps)
        return with_zero_snr(schedule) if self.rescale_betas_zero_snr else schedule

    @property
    def space(self) -> LatentSpace:
        """What it works in."""
        return LATENT_SPACES[self.latent_space]

    @property
    def has_own_text(self) -> bool:
        """Whether its text encoder comes with the model: one on this machine that has it."""
        path = model_ref(self.model).path
        return self.text_encoder is None or (path is not None and (path / TEXT[0]).is_dir())

    def for_steps(self, num_inference_steps: int) -> ExpertSpec:
        """The same expert, its motion adapter being the one for a structure of so many steps."""
        if self.motion_adapter is None:
            return self
        named = self.motion_adapter.replace("{steps}", str(num_inference_steps))
        return replace(self, motion_adapter=named)

    def for_frames(self, num_frames: int, height: int, width: int) -> ExpertSpec:
        """The same expert, its shift being that of samples of so many frames and pixels."""
        if self.base_shift is None or self.max_shift is None:
            return self
        space = self.space
        tokens = space.length(num_frames) * (height // space.multiple) * (width // space.multiple)
        lengths = self.base_image_seq_len, self.max_image_seq_len
        return replace(
            self, flow_shift=dynamic_shift(tokens, self.base_shift, self.max_shift, *lengths)
        )


def sharing_vaes(experts: Mapping[str, ExpertSpec]) -> dict[str, ExpertSpec]:
    """The same experts by role, one of each latent space bringing the VAE of all that are in it.

    It is the first of the spatial, the temporal and the control expert that is there, unless
    another one says that it is.
    """
    by_space: dict[str, str] = {}
    for role in ("spatial", "temporal", "control"):
        if role in experts and experts[role].vae is not False:
            by_space.setdefault(experts[role].latent_space, role)
    for role, spec in experts.items():
        if spec.vae:
            by_space[spec.latent_space] = role
    return {
        role: replace(spec, vae=by_space.get(spec.latent_space) == role)
        for role, spec in experts.items()
    }


def requirements(spec: ExpertSpec) -> Iterator[tuple[str, Requirement]]:
    """The models that an expert is made of, each with the name of the setting that says where."""
    picture = PICTURE if spec.vae else ()
    shared = (*(TEXT if spec.has_own_text else ()), *picture)
    own = (spec.network, "motion_adapter", "scheduler")
    yield "model", Requirement(model_ref(spec.model), (*own, *shared), spec.pickles)
    if spec.text_encoder and not spec.has_own_text:
        yield "text_encoder", Requirement(model_ref(spec.text_encoder), TEXT, spec.pickles)
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

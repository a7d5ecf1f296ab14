"""confiner from Python: load a set of experts once, make videos of many prompts; no files."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain, pairwise
from pathlib import Path
from types import TracebackType
from typing import overload

import torch
from torch import Tensor

from confiner_cli import progress
from confiner_cli.config.job import Job
from confiner_cli.config.numbers import plain
from confiner_cli.config.overrides import Overrides, parse_overrides
from confiner_cli.config.places import ConfigSource, config_source
from confiner_cli.config.resolve import require_prompt, resolve
from confiner_cli.config.schema import OF_THE_COMMAND, Settings
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.compiling import check_compiler
from confiner_cli.experts.device import device_of
from confiner_cli.experts.identity import Weights
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.experts.vae import Decoder
from confiner_cli.media.formats import Format, format_of
from confiner_cli.media.sound import Sound, obstacle
from confiner_cli.media.video import write_video
from confiner_cli.method.long.timeline import Span
from confiner_cli.method.pipeline import Structure
from confiner_cli.runs.downloads import download_missing
from confiner_cli.runs.executor import execute
from confiner_cli.runs.loaded_pipeline import LoadedPipeline, load_pipeline
from confiner_cli.runs.memory_store import MemoryStore
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.perform import Performer, Result, graph_of
from confiner_cli.runs.provenance import recipe, settings_of
from confiner_cli.runs.tasks import Kind, Task, shown_by
from confiner_cli.runs.threads import asked_threads, computing_with


@dataclass(frozen=True)
class Video:
    """A finished video.

    Attributes:
        frames: `(frame, height, width, 3)`, uint8.
        job: everything that decided it.
        evaluations: denoiser calls by role.
        passes: what they cost, by role: a guided call is two.
        notices: one-line remarks about the prompt, such as words that experts have never learnt.
        weights: the files that its experts are made of, hashed, by role.
    """

    frames: Tensor
    job: Job
    evaluations: Mapping[str, int]
    passes: Mapping[str, int]
    notices: tuple[str, ...]
    weights: Mapping[str, Weights]
    decode_structure: Callable[[], Tensor] = field(repr=False)

    @property
    def settings(self) -> Settings:
        """What was asked for, made whole: the seed is the one that was drawn."""
        return self.job.settings

    @cached_property
    def structure(self) -> Tensor:
        """The draft that it was refined from, same shape; decoded when it is first asked for.

        Where the experts are closed by then, that loads their VAE again.
        """
        return self.decode_structure()

    def save(self, path: str | Path) -> Path:
        """Write a file that says how it was made, whole or not at all, and return its path.

        Its suffix chooses the format: `.mp4`, `.gif`, `.webm`, `.apng` (`.png`) or `.webp`. The
        sound of `structure.video=` is in it where the format holds it; else there is a notice.

        Raises:
            ConfinerError: another suffix, a folder that is not there, or a rate that players do not
                show in such a file.
        """
        path = Path(path)
        sound, notice = self._sound_for(format_of(path))
        if notice:
            progress.say(f"notice: {notice}")
        text = recipe(self.settings, self.weights)
        write_video(path, self.frames, self.job.size, self.job.fps, text, sound)
        return path

    def _sound_for(self, kind: Format) -> tuple[Sound | None, str]:
        """What a file has of the given video's sound, and what else is to be said of it."""
        if self.job.sound is None:
            return None, ""  # there is none, or its loss is in the notices
        (source,) = self.job.source_videos
        why_not = obstacle(source, len(self.frames), self.job.fps, kind)
        if why_not:
            return None, f"the sound of {source.path} is left out: {why_not}"
        return self.job.sound, ""

    def _repr_html_(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            content = self.save(Path(folder) / "video.mp4").read_bytes()
        source = f"data:video/mp4;base64,{base64.b64encode(content).decode()}"
        width = max(256, self.frames.shape[2])
        return f'<video controls loop autoplay muted width="{width}" src="{source}"></video>'


class Confiner:
    """A set of experts with their networks, which it owns; made by `load`.

    `close()`, or the end of a `with` block, frees the networks and their memory. Threads may share
    one: their videos are made one after another, since networks that make room for each other
    would be moved at every step. Threads with one each do not wait for each other.

    Attributes:
        networks: those that are loaded.
    """

    def __init__(self, overrides: Overrides, settings: Settings, networks: NetworkCache) -> None:
        """Take over networks, and the overrides and settings that every video is made with."""
        self._overrides = overrides
        self._settings = settings
        self.networks = networks

    def close(self) -> None:
        """Free the networks. Finished videos stay; to make another one loads the networks again."""
        self.networks.close()

    def __enter__(self) -> Confiner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @overload
    def generate(
        self,
        prompt: str,
        *overrides: str,
        negative_prompt: str | None = None,
        prompts: Mapping[int, str] | None = None,
        seed: None = None,
        seeds: Iterable[int],
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        fps: float | None = None,
        frame_batch: int | None = None,
    ) -> list[Video]: ...

    @overload
    def generate(
        self,
        prompt: str,
        *overrides: str,
        negative_prompt: str | None = None,
        prompts: Mapping[int, str] | None = None,
        seed: int | None = None,
        seeds: None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        fps: float | None = None,
        frame_batch: int | None = None,
    ) -> Video: ...

    def generate(
        self,
        prompt: str,
        *overrides: str,
        negative_prompt: str | None = None,
        prompts: Mapping[int, str] | None = None,
        seed: int | None = None,
        seeds: Iterable[int] | None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        fps: float | None = None,
        frame_batch: int | None = None,
    ) -> Video | list[Video]:
        """Make a video, or one for each of several seeds.

        What is left out is the expert set's own, or what `load` was told.

        Args:
            prompt: what the video shows, verbatim.
            overrides: as on the command line, such as `"scheduler=confiner_18"`; they come after
                those of `load`.
            negative_prompt: what it does not show.
            prompts: by frame, prompts that take over there.
            seed: decides all noise, in [0, 2**64); None draws one. Whole numbers may be NumPy's.
            seeds: makes a list of videos in one forward, each as its seed alone would make it but
                for the last bits.
            num_frames: of the video.
            height: in pixels.
            width: in pixels.
            fps: frames a second.
            frame_batch: frames that the spatial expert sees at once.

        Raises:
            ConfinerError: a value that cannot be used, or a failure with a cure.
        """
        asked = {
            "negative_prompt": negative_prompt,
            "prompts": None if prompts is None else dict(prompts),
            "seed": seed,
            "num_frames": num_frames,
            "height": height,
            "width": width,
            "fps": fps,
            "frame_batch": frame_batch,
        }
        given = {key: plain(value) for key, value in asked.items() if value is not None}
        if seed is not None and seeds is not None:
            raise ConfinerError("seed= and seeds= are given together", "use one of them")
        settings = replace(self._settings_with(overrides), prompt=prompt, **given)
        jobs = _jobs(require_prompt(settings), seeds)
        videos = self._make(jobs)
        return videos[0] if seeds is None else videos

    def _settings_with(self, words: Sequence[str]) -> Settings:
        if not words:
            return self._settings  # to compose a config takes a part of a second
        called = _parsed(words, self._overrides.source)
        both = replace(self._overrides, words=(*self._overrides.words, *called.words))
        return settings_of(both)

    def _make(self, jobs: Sequence[Job]) -> list[Video]:
        with self.networks.lock:
            download_missing(jobs[0])
            with computing_with(asked_threads(jobs[0].settings)):
                return _videos(jobs, self.networks)


def _videos(jobs: Sequence[Job], networks: NetworkCache) -> list[Video]:
    """The videos of jobs that differ in their seeds alone."""
    loaded, meter = load_pipeline(jobs, networks), Meter()
    store: MemoryStore[Result] = MemoryStore(keep=(Kind.STRUCTURE,))
    joining = loaded.joining(lambda latents: list(loaded.decoder.parts(latents)))
    show = loaded.draft_decoder.parts
    perform = Performer(loaded.pipeline, lambda task: meter.watch, joining, show)
    graph = graph_of(loaded.pipeline, joining, previewed=False)
    # One behind: a GPU goes on with a chunk while the frames of the one before it arrive.
    for before, _ in pairwise(execute(graph.goals(), graph, store, perform)):
        store.put(before, _arrived(store.get(before)))
    return [_video(number, job, loaded, meter, store) for number, job in enumerate(jobs)]


def _parsed(words: Sequence[str], source: ConfigSource) -> Overrides:
    """Overrides as on the command line, but for those that are about run folders."""
    parsed = parse_overrides(words, multirun=False, source=source)
    for key in sorted(parsed.chosen):
        if key in OF_THE_COMMAND or key.startswith("output"):
            raise ConfinerError(
                f"{key}= is for the command: from Python no run folder is made",
                "video.save(path) writes the file, seeds=[1, 2] makes several videos",
            )
    return parsed


def _jobs(settings: Settings, seeds: Iterable[int] | None) -> list[Job]:
    each = [settings.seed] if seeds is None else _each(seeds)
    jobs = [resolve(replace(settings, seed=seed)) for seed in each]
    return [job.finite("a video without an end does not fit into memory") for job in jobs]


def _each(seeds: Iterable[int]) -> list[int]:
    if not isinstance(seeds, Iterable):  # Python callers meet no schema
        raise ConfinerError(f"seeds={seeds!r} is no list", "seeds=[1, 2], or seed=1")
    each = [plain(seed) for seed in seeds]
    if not each:
        raise ConfinerError("seeds=[] makes no video", "seeds=[1, 2]")
    return each


def _video(
    number: int, job: Job, loaded: LoadedPipeline, meter: Meter, store: MemoryStore[Result]
) -> Video:
    """The video of sample `number` of a batch."""
    frames: list[Tensor] = []
    for chunk in store.of_kind(Kind.CHUNK):
        assert isinstance(chunk, list)
        frames += chain.from_iterable(chunk[number])
    drafts = [_latents_of(result, number) for result in store.of_kind(Kind.STRUCTURE)]
    segments = [_shown(latents, index, job) for index, latents in enumerate(drafts)]
    decode: Callable[[], Tensor] = partial(
        _decoded, loaded.decoder, segments, len(frames), asked_threads(job.settings)
    )
    if not drafts and loaded.source is not None:
        decode = partial(loaded.source, Span(0, len(frames)))
    return Video(
        torch.stack(frames),
        job,
        dict(meter.evaluations),
        dict(meter.passes),
        loaded.notices,
        loaded.weights,
        decode,
    )


def _arrived(frames: Result) -> Result:
    """The frames of a chunk, waited for, in memory that is not the GPU's to write to."""
    assert isinstance(frames, list)
    return [[torch.stack(list(chain.from_iterable(parts)))] for parts in frames]


def _latents_of(structure: Result, number: int) -> Tensor:
    assert isinstance(structure, Structure)
    return structure.latents[number : number + 1].cpu()


def _shown(latents: Tensor, number: int, job: Job) -> Tensor:
    """The latents of the frames that the video shows of a structure."""
    shown = len(shown_by(Task(Kind.PREVIEW, number), job.timeline))
    return latents[:, :, : job.experts[job.draft_role].space.length(shown)]


def _decoded(
    decoder: Decoder, segments: Sequence[Tensor], num_frames: int, threads: int | None
) -> Tensor:
    """The frames of `(1, channel, frame, height, width)` latents, one segment after another."""
    with computing_with(threads):
        frames = [frame for latents in segments for frame in decoder(latents)]
    return torch.stack(frames[:num_frames])


def load(
    experts: str = "tiny",
    *overrides: str,
    scheduler: str | None = None,
    long_video: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    memory: str = "auto",
    threads: int | str = "auto",
    config_dir: str | Path | None = None,
) -> Confiner:
    """Load a set of experts; what is missing of it is downloaded.

    Nothing of the process is changed, but torch's number of threads while a video is made, if
    `threads` asks for another. So nobody tells OpenMP's threads to sleep while they wait, as the
    command does, and beside busy programs a video may take many times as long: set
    `OMP_WAIT_POLICY=PASSIVE` in the environment before torch is imported.

    Args:
        experts: the set's name; `confiner experts` lists them.
        overrides: as on the command line, for every video that is made.
        scheduler: `confiner_9`, `steady`, ...; None is the set's own.
        long_video: `confiner_long` for videos that are longer than the experts take at once.
        device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.
        dtype: `float32`, `float16`, `bfloat16` or `auto`.
        memory: which networks stay on a GPU: `high`, `balanced`, `low` or `auto`.
        threads: how many compute on the CPU; `auto` leaves torch's own number.
        config_dir: a folder with configs of your own, as `--config-dir` has it.

    Raises:
        ConfinerError: weights that are missing or damaged, or a device that is not there.
    """
    chosen: dict[str, object] = {
        "experts": experts,
        "scheduler": scheduler,
        "long_video": long_video,
    }
    chosen |= {"device": device, "dtype": dtype, "memory": memory, "threads": threads}
    stated = {name: value for name, value in chosen.items() if value not in (None, "auto")}
    words = [f"{name}={value}" for name, value in stated.items()]
    parsed = _parsed([*words, *overrides], config_source(config_dir))
    settings = settings_of(parsed)
    confiner = Confiner(parsed, settings, NetworkCache())
    job = resolve(settings)
    check_compiler(settings.compile, device_of(settings.device))
    download_missing(job)
    try:
        with computing_with(asked_threads(settings)):
            load_pipeline([job], confiner.networks).load()
    except BaseException:
        confiner.close()
        raise
    return confiner

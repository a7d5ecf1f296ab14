"""The rows of the tables as data: confiner's own, each strategy's worth, what others would do."""

from __future__ import annotations

_LONG = "long_video=confiner_long"
_PAPER = (
    _LONG,
    "scheduler=confiner_9",
    "long_video.window_overlap=0",
    "long_video.noise_by=window",
    "long_video.turn=false",
)
_ALL_OFF = ("long_video.consistency=0", "long_video.staggered=false")

CONFINER: dict[str, tuple[str, ...]] = {
    "confiner_long": (_LONG,),
    "no_turn": (_LONG, "long_video.turn=false"),
    "no_consistency": (_LONG, "long_video.consistency=0"),
    "not_staggered": (_LONG, "long_video.staggered=false"),
    "no_overlap": (_LONG, "long_video.window_overlap=0"),
    "overlap_4": (_LONG, "long_video.window_overlap=4"),
    "coherence_noise_0.1": (_LONG, "long_video.coherence=0.1", "long_video.align=noise"),
    "coherence_frame_0.02": (_LONG, "long_video.coherence=0.02", "long_video.align=frame"),
    "coherence_frame_0.1": (_LONG, "long_video.coherence=0.1", "long_video.align=frame"),
    "paper": (*_PAPER, "long_video.coherence=0.02", "long_video.align=frame"),
    "paper_no_coherence": _PAPER,
    "none": (*_PAPER, *_ALL_OFF),
    "noise_by_window": (_LONG, "long_video.noise_by=window"),
    "unshuffled": (_LONG, "long_video.shuffle=none"),
    "confiner_9": (_LONG, "scheduler=confiner_9"),
    "confiner_9_no_turn": (_LONG, "scheduler=confiner_9", "long_video.turn=false"),
    "te_200": (_LONG, "scheduler.refinement.te=200"),
    "te_300": (_LONG, "scheduler.refinement.te=300"),
}  # fmt: skip
"""By name: how `confiner generate` is overridden."""

CLIP: tuple[str, ...] = ("scheduler=confiner_9",)
"""How the independent clips of `naive_concatenation` are made, each with a seed of its own."""

FREE_NOISE: dict[str, int] = {"free_noise_4": 4, "free_noise_9": 9, "free_noise_25": 25}
"""diffusers' AnimateDiffPipeline with FreeNoise on the embedded control expert, by steps."""

FLOOR = "renders"
"""The prompt's 16 rendered frames over and over: clips that nothing is wrong with."""

PEERS = ("naive_concatenation", *FREE_NOISE)
ROWS = (FLOOR, *CONFINER, *PEERS)

FOLLOWS_ITSELF = ("standing still", "swinging from side to side", "pulsing")
"""Motions whose clip can follow itself without a jump; others have a direction, and start over."""
KINDS = ("follows itself", "has a direction")


def kind_of(motion: str) -> str:
    """Which of `KINDS` a motion is."""
    return KINDS[0] if motion in FOLLOWS_ITSELF else KINDS[1]

"""Captions: a small grammar with synonyms and word orders, and plain words that change nothing."""

from __future__ import annotations

import random

from world.scene import Scene

SHAPE_WORDS = {
    "circle": ("circle", "circle", "ball", "disc"),
    "square": ("square", "square", "box"),
    "triangle": ("triangle", "triangle"),
    "star": ("star", "star"),
    "heart": ("heart", "heart"),
}
COLOUR_WORDS = {
    "red": ("red", "red", "bright red", "scarlet"),
    "orange": ("orange", "orange", "bright orange"),
    "yellow": ("yellow", "yellow", "bright yellow"),
    "green": ("green", "green", "bright green"),
    "blue": ("blue", "blue", "bright blue"),
    "purple": ("purple", "purple", "violet", "bright purple"),
}
MOTION_WORDS = {
    "standing still": (
        "standing still", "standing still", "at rest", "not moving", "staying still", "resting",
    ),
    "moving left": (
        "moving left", "moving left", "moving to the left", "going left", "sliding left",
        "drifting to the left", "floating left",
    ),
    "moving right": (
        "moving right", "moving right", "moving to the right", "going right", "sliding right",
        "drifting to the right", "floating right",
    ),
    "rising": (
        "rising", "rising", "moving up", "floating up", "going up", "rising up", "moving upwards",
        "flying up",
    ),
    "falling": (
        "falling", "falling", "moving down", "floating down", "going down", "falling down",
        "sinking", "moving downwards", "dropping",
    ),
    "growing": (
        "growing", "growing", "getting bigger", "growing larger", "getting larger", "expanding",
    ),
    "swinging from side to side": (
        "swinging from side to side", "swinging from side to side", "swinging",
        "swaying from side to side", "swinging left and right", "moving from side to side",
    ),
    "pulsing": ("pulsing", "pulsing", "beating", "throbbing", "growing and shrinking"),
}  # fmt: skip
BACKGROUND_WORDS = {
    "grass": (
        "over the grass", "over grass", "on the grass", "above the grass", "over a green meadow",
        "in front of grass", "in the grass",
    ),
    "night sky": (
        "over the night sky", "in the night sky", "against the night sky",
        "in front of the night sky", "at night", "under the stars at night",
    ),
    "sea": (
        "over the sea", "over the sea", "above the sea", "on the sea", "in front of the sea",
        "over the ocean", "at sea",
    ),
    "sand": (
        "over the sand", "over sand", "on the sand", "above the sand", "in front of sand",
        "on the beach", "over the desert sand",
    ),
}  # fmt: skip
_OPENINGS = ("a video of ", "a clip of ", "an animation of ", "there is ", "we see ")
_ENDINGS = (
    ", high quality",
    ", 2k, high quality",
    ", best quality",
    ", cartoon",
    ".",
    ", detailed",
    ", smooth video",
)


def canonical(scene: Scene) -> str:
    """The plainest caption: `a red heart rising over the sea`."""
    preposition = "in" if scene.background == "night sky" else "over"
    thing = f"{_article(scene.colour)} {scene.shape}"
    return f"{thing} {scene.motion} {preposition} the {scene.background}"


def caption(scene: Scene, rng: random.Random, partial: float = 0.0) -> str:
    """A random wording. With probability `partial` it leaves one attribute but the shape unsaid."""
    colour = rng.choice(COLOUR_WORDS[scene.colour])
    shape = rng.choice(SHAPE_WORDS[scene.shape])
    motion = rng.choice(MOTION_WORDS[scene.motion])
    where = rng.choice(BACKGROUND_WORDS[scene.background])
    if rng.random() < partial:
        unsaid = rng.choice(("colour", "motion", "where"))
        colour, motion, where = (
            "" if unsaid == name else words
            for name, words in (("colour", colour), ("motion", motion), ("where", where))
        )
    return _decorated(_ordered(colour, shape, motion, where, rng), rng)


def _ordered(colour: str, shape: str, motion: str, where: str, rng: random.Random) -> str:
    thing = _article(f"{colour} {shape}".strip())
    order = rng.random()
    words: tuple[str, ...]
    if order < 0.5:
        words = (thing, motion, where)
    elif order < 0.65:
        words = (thing, where, motion)
    elif order < 0.8 and where:
        words = (where + ",", thing, motion)
    elif order < 0.9 and motion:
        words = (thing, "that is", motion, where)
    else:
        words = (thing, "is" if motion else "", motion, where)
    return " ".join(word for word in words if word)


def _decorated(text: str, rng: random.Random) -> str:
    if rng.random() < 0.15:
        text = rng.choice(_OPENINGS) + text
    if rng.random() < 0.15:
        text += rng.choice(_ENDINGS)
    return text[0].upper() + text[1:] if rng.random() < 0.1 else text


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"

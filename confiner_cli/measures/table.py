"""The measures there are: their names, units and directions, and what each needs. No numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from confiner_cli.errors import ConfinerError

INSTALL = 'pip install "confiner[measure]"'


@dataclass(frozen=True)
class Measure:
    """One number of a video.

    Attributes:
        name: as run.json, `confiner measure` and `objective=` have it.
        meaning: what it says of a video.
        unit: of the number, or its range.
        better: which way: `smaller`, `larger`, or empty where that is a matter of taste.
        least_frames: a shorter video has no such number.
        needs_flow: whether it follows motion, for which OpenCV is needed.
    """

    name: str
    meaning: str
    unit: str
    better: str
    least_frames: int = 1
    needs_flow: bool = False


MEASURES: Mapping[str, Measure] = {
    each.name: each
    for each in (
        Measure(
            "flicker", "change from frame to frame that motion does not explain",
            "levels of 0 to 255", "smaller", 3, needs_flow=True,
        ),
        Measure(
            "motion_amplitude", "how far pixels move from frame to frame",
            "% of the diagonal", "", 3, needs_flow=True,
        ),
        Measure(
            "motion_smoothness", "how evenly what moves goes on",
            "0 to 1", "larger", 3, needs_flow=True,
        ),
        Measure("sharpness", "how far neighbouring pixels differ", "0 to 2", "larger"),
        Measure(
            "drift", "how far colour, contrast and sharpness go",
            "0 is none, 0.1 some 10 %", "smaller", 2,
        ),
        Measure(
            "loop_seam", "change from the last frame to the first, over that of neighbours",
            "1 is not seen", "smaller", 3,
        ),
    )
}  # fmt: skip


def has_flow() -> bool:
    """Whether OpenCV is installed."""
    return find_spec("cv2") is not None


def check_installed(name: str) -> None:
    """Refuse a measure that cannot be had here, whatever the video.

    Raises:
        ConfinerError: it follows motion, and OpenCV is not installed.
    """
    if MEASURES[name].needs_flow and not has_flow():
        raise ConfinerError(f"{name} needs OpenCV, which is not installed", INSTALL)


def lacking(num_frames: int) -> dict[str, str]:
    """The measures that a video of so many frames does not get here, by name, and why."""
    reasons = {name: _reason(each, num_frames) for name, each in MEASURES.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def explained(lacking: Mapping[str, str]) -> list[str]:
    """The same for a person: a line for each reason."""
    return [
        f"not measured: {', '.join(name for name in lacking if lacking[name] == reason)}; {reason}"
        for reason in dict.fromkeys(lacking.values())
    ]


def _reason(measure: Measure, num_frames: int) -> str:
    """Why a video has no such measure, or nothing."""
    if num_frames < measure.least_frames:
        return f"that takes {measure.least_frames} frames, and there are {num_frames}"
    if measure.needs_flow and not has_flow():
        return f"that takes OpenCV: {INSTALL}"
    return ""

"""The page: cards and axes into one HTML file, style and script in it, nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from confiner_cli.gallery.axes import Axis
from confiner_cli.gallery.cards import Card, duration
from confiner_cli.media.contact_sheet import first_of_last_row

GENERATOR = "confiner gallery"
"""The page's mark: a file without it is not ours to replace."""
HERE = Path(__file__).parent
SCRIPTS = ("playback.js", "grid.js", "compare.js", "gallery.js")
NOTHING = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
"""Without JavaScript, a poster that lets the contact sheet be seen below it.

Without a poster a browser paints over it.
"""
FIRST_SCRIPT = 'document.documentElement.classList.add("live");'


def page(title: str, cards: Sequence[Card], axes: Sequence[Axis], version: str) -> str:
    """The whole page.

    Args:
        title: what the runs are of, as text.
        cards: in their order.
        axes: what differs between them, with a position for each card.
        version: confiner's.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    style = "\n".join([(HERE / "gallery.css").read_text(encoding="utf-8"), *_shapes(cards)])
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return environment.get_template("template.html.j2").render(
        title=title,
        cards=cards,
        statuses=Counter(card.status for card in cards).most_common(),
        newest=max((card.started for card in cards), default="")[:16].replace("T", " "),
        generator=f"{GENERATOR} {version}",
        nothing=NOTHING,
        style=style,
        first_script=FIRST_SCRIPT,
        script=script,
        policy=_policy([FIRST_SCRIPT, script], style),
        data=_safe_json(_data(cards, axes)),
    )


def _data(cards: Sequence[Card], axes: Sequence[Axis]) -> dict[str, Any]:
    """What the script cannot read from the cards."""
    runs = []
    for index, card in enumerate(cards):
        runs.append(_run_data(card) | {"at": [axis.positions[index] for axis in axes]})
    return {
        "axes": [{"key": axis.key, "values": axis.values, "swept": axis.swept} for axis in axes],
        "runs": runs,
    }


def _run_data(card: Card) -> dict[str, Any]:
    return {
        "folder": card.folder,
        "fps": card.fps,
        "frames": card.frames,
        "passes": card.passes,
        "seconds": card.seconds,
        "started": card.started,
        "structure": card.links.get("structure"),
        "picture": card.is_picture,
    }


def _safe_json(value: Any) -> str:
    """JSON in ASCII that neither ends a script element nor begins anything else."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _shapes(cards: Sequence[Card]) -> Iterator[str]:
    """Rules for the shapes that occur, of videos and of contact sheets.

    A sheet is shown so large that one frame of it fills the picture.
    """
    for height, width in sorted({card.size for card in cards}):
        yield f".video-{height}x{width} {{ aspect-ratio: {width} / {height}; }}"
    for height, width, rows in sorted({card.sheet for card in cards if card.sheet}):
        box = first_of_last_row(height, width, rows)
        if box is None:
            continue
        left, top, cell_width, cell_height = box
        place = f"left: {-100 * left / cell_width:.3f}%; top: {-100 * top / cell_height:.3f}%"
        wide, high = 100 * width / cell_width, 100 * height / cell_height
        name = f".sheet-{height}x{width}-{rows}"
        yield f"{name} {{ {place}; width: {wide:.3f}%; height: {high:.3f}%; }}"


def _policy(scripts: Sequence[str], style: str) -> str:
    """Content Security Policy: these scripts, this style, media beside the page, nothing else."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; "
        "img-src 'self' file: data:; media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

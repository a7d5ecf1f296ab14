"""confiner: videos from text by a chain of ready-made diffusion experts (arXiv 2408.13423).

from confiner_cli import load

with load("tiny") as confiner:
    confiner.generate("a red heart rising over the sea", seed=7).save("heart.mp4")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confiner_cli.errors import ConfinerError

if TYPE_CHECKING:
    from confiner_cli.api import Confiner, Video, load

__all__ = ["Confiner", "ConfinerError", "Video", "load"]


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is first asked for: `confiner --help` needs none."""
    if name in __all__:
        from confiner_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

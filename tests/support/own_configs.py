"""A folder with configs of a person's own: experts, a scheduler, an experiment, root configs."""

from __future__ import annotations

from pathlib import Path

OWN = Path(__file__).parents[1] / "data" / "own_configs"

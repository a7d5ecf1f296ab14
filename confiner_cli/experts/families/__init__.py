"""The families of experts, one file each, named in YAML by `family: <file name>`.

A family is a function `load(parts) -> Network`. Its network is called with a sample
`(batch, channel, frame, height, width)`, a timestep and hidden states `(batch, token, width)`, and returns the raw
prediction in the sample's shape: how frames are laid out inside is the family's own business.
"""

from __future__ import annotations

import pkgutil

FAMILIES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
"""The closed table of families: the files of this folder, and nothing else."""

"""The families of experts, one file each, named in YAML by `family: <file name>`.

A family is six functions over its network, a module that nothing else knows the class of (a UNet
in most of them, and so called):

- `build(configs)`: the UNet without weights, from the configs of its components (`unet`,
  `transformer`, `motion_adapter`) by name;
- `sources(components)`: by component, the files that decide it, where `components` says;
- `skeleton(components)`: the UNet of these files without its weights, on the meta device;
- `text_width(components)`: the width of the hidden states that it reads;
- `load(components)`: the UNet with its weights;
- `predict(unet, x_t, t, conditioning)`: the raw prediction for a sample `(batch, channel, frame,
  height, width)`, in its shape, and a timestep, `()` or `(batch,)`, as `network.Network` has them.
  How frames are laid out inside is its own business.

`FRAMEWISE` says whether each frame is predicted without the others; `FOLDER_HAS_SCHEDULE` whether
the `scheduler_config.json` of a pipeline folder is about the schedule that this network was trained
on; `CLASS` which of diffusers' classes its network is, as its config says; it is empty where it is
none of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

FAMILIES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
"""The closed table of families: the files of this folder, and nothing else."""


def family_named(name: str) -> ModuleType:
    """The functions of a family, one of `FAMILIES`."""
    return importlib.import_module(f"{__name__}.{name}")

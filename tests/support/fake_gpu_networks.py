"""Networks on the GPU that is none: loaded on the CPU, they say that they are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from support.fake_gpu import CPU, FakeGpu, fake_gpu
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from confiner_cli.experts.components import Components
from confiner_cli.experts.offload import NetworkCache

ON_CPU = property(lambda _: CPU, lambda self, device: self.__dict__.update(device=device))


@contextmanager
def fake_gpu_with_networks() -> Iterator[FakeGpu]:
    """In the body `device=cuda:0` works."""
    loaded = NetworkCache._collecting
    with fake_gpu() as gpu:

        def moved(cache: NetworkCache, load: Callable[[], Any]) -> Any:
            with (
                _disable_current_modes(),
                mock.patch.object(Components, "device", ON_CPU, create=True),
            ):
                made = loaded(cache, load)
            return gpu.network(made) if isinstance(made, nn.Module) else made

        overwriting = torch.__future__.get_overwrite_module_params_on_conversion()
        # Else a network that moves or changes its precision sets the data of what it has.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with mock.patch.object(NetworkCache, "_collecting", moved):
                yield gpu
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(overwriting)

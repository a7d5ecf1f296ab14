"""Which device and precision the networks compute in. No torch until a device is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from confiner_cli.errors import ConfinerError, first_line

if TYPE_CHECKING:
    import torch

DEVICES = ("cpu", "cuda", "mps")
DTYPES = MappingProxyType({
    "float32": "float32", "float16": "float16", "bfloat16": "bfloat16",
    "fp32": "float32", "fp16": "float16", "bf16": "bfloat16",
})  # fmt: skip
"""What `dtype=` takes beside `auto`, and torch's names."""


CPUINFO = Path("/proc/cpuinfo")
IN_HARDWARE = MappingProxyType({
    "bfloat16": {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"},
    "float16": {"avx512_fp16", "amx_fp16", "avx_ne_convert", "asimdhp"},
})  # fmt: skip
"""What CPUs that compute in 16 bits say of themselves, by torch's names of the precisions."""


def device_of(name: str) -> torch.device:
    """The device that `name` means; `auto` is the first GPU, else the CPU.

    Raises:
        ConfinerError: it is not there.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in DEVICES:
            raise RuntimeError(f"{device.type} is none of {', '.join(DEVICES)}")
        torch.empty(0, device=device)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfinerError(
            f"device={name!r} cannot be used here: {first_line(error)}",
            "use device=cpu, device=cuda or device=auto",
        ) from error
    return device


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """The precision that `name`, a key of `DTYPES` or `auto`, means.

    `auto` is float32 on a CPU, bfloat16 on a GPU that has it in hardware, else float16.
    """
    import torch

    if name != "auto":
        dtype: torch.dtype = getattr(torch, DTYPES[name])
        return dtype
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16


def is_slow_on_this_cpu(dtype: torch.dtype, cpuinfo: Path = CPUINFO) -> bool:
    """Whether a CPU only imitates a precision, by what Linux says of it; False where it does not.

    Args:
        dtype: of 16 or 32 bits.
        cpuinfo: Linux' description of the CPU.
    """
    name = str(dtype).removeprefix("torch.")
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # `flags` of x86 and `Features` of ARM; no others are known well enough.
    found = re.search(r"^(flags|Features)\s*:(.*)$", text, re.MULTILINE)
    if found is None or name not in IN_HARDWARE:
        return False
    return IN_HARDWARE[name].isdisjoint(found[2].split())


def free_memory(device: torch.device) -> int | None:
    """Bytes that a GPU has for this process, those it holds already included.

    None where none have to be counted.
    """
    import torch

    if device.type != "cuda":
        return None
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)


def whole_memory(device: torch.device) -> int | None:
    """Bytes that a GPU has, whoever holds them; None as `free_memory`."""
    import torch

    return torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else None

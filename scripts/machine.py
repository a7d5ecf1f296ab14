"""What a measurement was made on, as a line below its table."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from confiner_cli.costs.cpus import usable_cpus
from confiner_cli.runs.provenance import versions

CPUINFO = Path("/proc/cpuinfo")


def machine() -> str:
    """The CPU, how many of it may be used, and the versions of what computes."""
    found = versions()
    packages = ", ".join(f"{name} {found[name]}" for name in ("python", "torch", "diffusers"))
    return f"{cpu_name()}, {usable_cpus()} of {os.cpu_count()} CPUs; {packages}"


def cpu_name(cpuinfo: Path = CPUINFO) -> str:
    """As Linux has it, else the kind of machine."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1] if named else platform.machine()

"""Importing the package changes nothing in the process: neither its own state nor a library's."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import confiner_cli

PACKAGE = Path(confiner_cli.__file__).parent
PROGRAM = """
import contextlib, importlib, logging, os, pkgutil, signal, sys, warnings

for name in sys.argv[1].split():
    with contextlib.suppress(ModuleNotFoundError):  # a function of a module, not a module
        importlib.import_module(name)

import torch
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import constants
from huggingface_hub.utils import are_progress_bars_disabled

loggers = list(logging.root.manager.loggerDict)

def state():
    known = {
        "argv": list(sys.argv), "environment": dict(os.environ), "filters": list(warnings.filters),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "threads": torch.get_num_threads(), "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(), "hub's bars": are_progress_bars_disabled(),
    }
    for name in dir(constants):
        if name.isupper():
            known["hub's " + name] = getattr(constants, name)
    known["diffusers"] = diffusers_logging.get_verbosity()
    known["diffusers' bars"] = diffusers_logging.is_progress_bar_enabled()
    for name in (*loggers, None):
        logger = logging.getLogger(name)
        known[f"logger {name}"] = logger.level, list(logger.handlers), logger.propagate
    return known

before = state()
import confiner_cli.api
for module in pkgutil.walk_packages(confiner_cli.__path__, "confiner_cli."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
after = state()
assert "confiner_cli.experts.loading" in sys.modules and len(loggers) > 10
changed = [name for name in before if before[name] != after[name]]
sys.exit("changed: " + ", ".join(changed) if changed else 0)
"""


def foreign_modules() -> set[str]:
    """All modules of others that the package imports, anywhere in it."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] != "confiner_cli"}


@pytest.mark.thorough
def test_importing_changes_neither_the_process_nor_a_library():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, " ".join(sorted(foreign_modules()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

"""Forked processes: the threads of OpenMP stay behind, and torch would wait for them for ever."""

from __future__ import annotations

import os

from confiner_cli.errors import ConfinerError

_began_in: list[int] = []
"""The process that was the first to load or ask a network. A fork inherits the list as it is."""


def refuse_forked() -> None:
    """Refuse to compute where that would never end: in a fork of a process that had begun to.

    With one thread there are none to wait for.

    Raises:
        ConfinerError: this is such a process.
    """
    import torch  # not for those who only read the table of policies

    if not _began_in:
        _began_in.append(os.getpid())
    if os.getpid() not in _began_in and torch.get_num_threads() > 1:
        raise ConfinerError(
            f"this process was forked from one that has used torch's threads ({_began_in[0]}): it "
            "would wait for them for ever",
            'start it by multiprocessing.get_context("spawn"), or load in the workers alone, or '
            "make videos with threads=1 in them",
        )

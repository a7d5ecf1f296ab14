"""The hub that tests of weights ask."""

from __future__ import annotations

import pytest


@pytest.fixture
def hub(repositories, tmp_path, monkeypatch):
    """The stand-in, to which this process's hub client is turned, its cache in `tmp_path`."""
    from support.published import PINNED
    from support.stand_in_hub import StandInHub, in_process

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("confiner_cli.weights.hub_errors.PAUSES", (0.0, 0.0))
    monkeypatch.setattr("sys.argv", ["confiner"])
    with StandInHub(repositories) as running, in_process(running, tmp_path / "home"):
        running.commits.update(PINNED)
        yield running

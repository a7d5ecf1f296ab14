"""Shared fixtures. Heavy imports stay inside them, so that tests without networks start at once."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `control`, `spatial`, `temporal` and `shared` in diffusers' layout, untrained, of every family."""
    from support import tiny_networks

    folder = tmp_path_factory.mktemp("networks")
    tiny_networks.write(folder)
    return folder


@pytest.fixture(scope="session")
def exported_experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded experts as pipeline folders: `control`, `spatial`, `temporal`."""
    from confiner_cli.config.hydra import settings_with
    from confiner_cli.experts.export import export

    folder = tmp_path_factory.mktemp("exported")
    list(export(settings_with([]).experts.by_role(), folder))
    return folder


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repositories of all expert sets, small, as they are published."""
    from support import published

    root = tmp_path_factory.mktemp("hub")
    published.write(root)
    return root

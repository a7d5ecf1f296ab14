"""Shared fixtures, which import what is heavy only when used, and which tests are `unit`."""

import gc
import os
from pathlib import Path

import pytest

# Before torch is imported, here and in what tests start. Threads that wait for each other spin by
# default: beside busy neighbours two take ten times as long as one for networks this small.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

TESTS = Path(__file__).parent
UNIT = (
    "config/test_flatten.py",
    "config/test_prompts.py",
    "house/test_layers.py",
    "media/test_background.py",
    "method",
    "scripts/test_statistics.py",
)
"""Folders and files whose tests load no network, and of which one starts a few short processes and
composes with Hydra, which takes half a second each time: under 20 seconds in all."""
THOROUGH = (
    "experts/test_lavie_mutations.py",
    "gallery/test_gallery_browser.py",
    "house/test_packaging.py",
    "launchers/test_joblib.py",
    "runs/test_workers.py",
    "scripts",
)
"""What `make test` leaves to `make test-thorough`, beside tests that say so themselves."""
CLUSTERS = {
    "launchers/test_slurm.py": "slurm",
    "launchers/test_killed_on_slurm.py": "slurm",
    "launchers/test_ray.py": "ray",
    "runs/test_ray_workers.py": "ray",
}
"""Files that start a cluster on this machine, and their marker: `make test-cluster` has them."""
LONGEST = (
    "house/test_readme.py", "runs/test_resume.py", "weights/test_hub.py", "runs/test_killed.py",
    "runs/test_full_disk.py", "scripts/test_metrics.py", "commands/test_cli_long.py",
    "commands/test_cli_errors.py", "experts/test_lavie_mutations.py",
    "gallery/test_gallery_browser.py",
)  # fmt: skip
"""The files that take longest go first: a file stays in one process, and none should be last."""


def is_in(path: Path, parts: tuple[str, ...]) -> bool:
    inside = path.relative_to(TESTS)
    return any(inside.is_relative_to(part) for part in parts)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`pytest -m unit` does not import the other tests, which takes longer than to run these."""
    only = config.option.markexpr == "unit" and collection_path.suffix == ".py"
    return True if only and not is_in(collection_path, UNIT) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_in(item.path, UNIT):
            item.add_marker(pytest.mark.unit)
        if is_in(item.path, THOROUGH):
            item.add_marker(pytest.mark.thorough)
        for path, marker in CLUSTERS.items():
            if is_in(item.path, (path,)):
                item.add_marker(marker)
    items.sort(key=lambda item: place(item.path))


def pytest_collection_finish() -> None:
    """What is imported stays: to look through all of it again and again takes a third of a test."""
    gc.collect()
    gc.freeze()


def place(path: Path) -> int:
    inside = path.relative_to(TESTS).as_posix()
    return LONGEST.index(inside) if inside in LONGEST else len(LONGEST)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained `control`, `spatial`, `temporal`, `shared` of each family, in diffusers' layout."""
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

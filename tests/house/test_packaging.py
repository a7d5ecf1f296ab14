"""The wheel holds all that is needed: it makes a video where nothing else is of the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from support.command_line import PROMPT, QUICK

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """An environment with the wheel and the tested dependencies, but not the checkout."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = [
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run([sys.executable, *install], check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    # A plain path: what is installed there can be imported, but its own .pth files, such as an
    # editable confiner, are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_wheel_has_every_module_config_and_weight(wheel):
    expected = {
        *(
            path.relative_to(CHECKOUT).as_posix()
            for path in (CHECKOUT / "confiner_cli").rglob("*")
            if path.is_file()
        ),
        *(
            f"confiner_cli/{path.relative_to(CHECKOUT).as_posix()}"
            for path in (CHECKOUT / "configs").rglob("*.yaml")
        ),
    }
    expected = {name for name in expected if "__pycache__" not in name}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert b"confiner = confiner_cli.cli:entry" in archive.read(entry_points)
    assert names == expected
    assert {"confiner_cli/configs/generate.yaml", "confiner_cli/embedded/knows.json"} <= names


def minor(version: str) -> tuple[int, int]:
    """The first two numbers of a version: patches are allowed to differ."""
    return Version(version).major, Version(version).minor


def test_the_oldest_versions_that_are_allowed_are_the_tested_ones():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    stated = [*project["dependencies"], *(each for extra in extras for each in extra)]
    stated = [each for each in stated if not each.startswith("confiner[")]
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition("==") for line in lines if "==" in line]
    tested = {canonicalize_name(name): minor(version) for name, _, version in pins}
    for requirement in map(Requirement, stated):
        (oldest,) = (one.version for one in requirement.specifier if one.operator == ">=")
        assert minor(oldest) == tested[canonicalize_name(requirement.name)], requirement.name


def output_of(*command, folder, path="") -> str:
    """Standard output of a command that sees no checkout but the one named by `path`."""
    environment = os.environ | {"PYTHONPATH": str(path)}
    words = [str(word) for word in command]
    result = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_installed_command_makes_a_video_in_another_directory(python, tmp_path):
    video = Path(output_of(python.parent / "confiner", "generate", PROMPT, *QUICK, folder=tmp_path))
    assert video.is_relative_to(tmp_path) and video.stat().st_size > 0


CONFIGS = "from confiner_cli.config.hydra import config_dir; print(config_dir())"


def test_configs_are_found_inside_an_installed_wheel(python, tmp_path):
    found = Path(output_of(python, "-c", CONFIGS, folder=tmp_path))
    assert found.is_relative_to(python.parents[1]) and (found / "generate.yaml").is_file()


def test_a_checkout_s_own_configs_go_before_the_copy_of_an_editable_install(python, tmp_path):
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("embedded", "__pycache__")
    shutil.copytree(CHECKOUT / "confiner_cli", checkout / "confiner_cli", ignore=ignored)
    for folder in (checkout / "configs", checkout / "confiner_cli" / "configs"):
        shutil.copytree(CHECKOUT / "configs", folder, dirs_exist_ok=True)
    found = output_of(python, "-c", CONFIGS, folder=tmp_path, path=checkout)
    assert Path(found) == checkout / "configs"

"""Where YAML files are: a person's folder is found, or refused with what to type instead."""

import shutil

import pytest
from support.own_configs import OWN

from confiner_cli.config.places import OURS, config_dir, config_source
from confiner_cli.errors import ConfinerError


def test_a_folder_adds_its_names_to_those_of_confiner_and_its_groups():
    own = config_source(OWN)
    assert set(own.choices("experts")) == {"mytiny", *OURS.choices("experts")}
    assert own.groups() == ["experiment", "experts", "scheduler"]
    assert own.has_group("experiment") and not OURS.has_group("experiment")
    assert not own.has_group("../own_configs/experiment")


def test_a_root_config_is_named_with_or_without_its_ending():
    assert config_source(OWN, "mine.yaml") == config_source(OWN, "mine")


def test_a_folder_in_the_home_is_named_by_a_tilde(tmp_path, monkeypatch):
    (tmp_path / "cfg").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_source("~/cfg").folder == tmp_path / "cfg"


@pytest.mark.parametrize(
    ("folder", "root", "message", "hint"),
    [
        (OWN / "nowhere", None, "nowhere is no folder", "name a folder"),
        (OWN / "mine.yaml", None, r"mine\.yaml is no folder", "name a folder"),
        (OWN, "mne", r"no config mne\.yaml", "did you mean mine?"),
        (None, "mine", r"no config mine\.yaml", "--config-dir FOLDER"),
        (None, f"{OWN}/mine.yaml", r"no config .*mine\.yaml", f"-dir {OWN} --config-name mine"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused_with_what_to_type(folder, root, message, hint):
    with pytest.raises(ConfinerError, match=message) as refused:
        config_source(folder, root)
    assert hint in refused.value.hint


def test_a_file_that_confiners_own_would_hide_is_refused_unless_it_is_a_copy(tmp_path):
    own = tmp_path / "scheduler" / "steady.yaml"
    own.parent.mkdir()
    shutil.copy(config_dir() / "scheduler" / "steady.yaml", own)
    assert config_source(tmp_path).folder == tmp_path
    own.write_text("name: steady")
    with pytest.raises(ConfinerError, match=r"steady\.yaml is never read") as refused:
        config_source(tmp_path)
    assert "scheduler/my_steady.yaml" in refused.value.hint

"""Records that were made before they had a number are read as what they were."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from confiner_cli.config.flatten import flatten
from confiner_cli.config.resolve import resolve
from confiner_cli.config.schema import ROLES
from confiner_cli.runs.folder import RECORD
from confiner_cli.runs.provenance import differences, recorded_settings, settings_of_words
from confiner_cli.runs.record import FORMAT, RunRecord, read_run, record_of

RECORDS = sorted((Path(__file__).parents[1] / "data" / "records").glob("0.1.0-*.json"))
OF_AN_EXPERT = (
    *("clip_skip", "embeddings", "preview", "rescale_betas_zero_snr"),
    *(
        "distilled_timesteps",
        "flow_shift",
        "network",
        "step_noise",
        "text_encoder",
        "vae",
    ),
    *("whole_timesteps", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"),
)
OF_EXPERTS = {f"experts.{role}.{key}" for role in ROLES for key in OF_AN_EXPERT}
NEW = OF_EXPERTS | {
    *(
        "batch",
        "compile",
        "executor",
        "objective",
        "prompt_weighting",
        "seeds",
        "strength",
        "threads",
        "workers",
    ),
    *("output.audio", "output.format", "output.measure", "output.structure"),
    *("scheduler.structure.solver", "scheduler.refinement.solver"),
    *("scheduler.structure.step_noise", "scheduler.structure.timesteps"),
    *("scheduler.refinement.repeats", "scheduler.refinement.bridge"),
}
"""Settings that came later."""


@pytest.fixture(params=RECORDS, ids=lambda path: path.stem)
def folder(request, tmp_path):
    (tmp_path / RECORD).write_bytes(request.param.read_bytes())
    return tmp_path


def test_there_are_three_of_them():
    assert len(RECORDS) == 3


def test_all_of_it_is_read(folder):
    facts = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    record = read_run(folder)
    assert record.format == 1 < FORMAT
    for name, value in facts.items():
        found = getattr(record, name)
        assert (list(found) if isinstance(found, tuple) else found) == value, name


def read_by_from(folder):
    return settings_of_words([f"from={folder}"])


@pytest.mark.parametrize("how", [read_by_from, recorded_settings])
def test_its_settings_are_those_that_it_states_and_nothing_of_today(folder, how):
    stated = flatten(read_run(folder).config)
    settings = how(folder)
    found = flatten(json.loads(json.dumps(asdict(settings))))
    assert set(found) - set(stated) <= NEW
    where = {"resume", "output.dir", "output.metadata", "output.save_latents"}
    for key, value in stated.items():
        if key not in where:
            assert found[key] == value, key


def test_a_run_may_be_gone_on_with_that_has_such_a_record(folder):
    record = read_run(folder)
    assert differences(record.config, resolve(recorded_settings(folder)).settings) == []


def test_a_record_is_read_back_as_it_was_written():
    record = RunRecord(
        format=FORMAT, status="failed", prompt="a", seed=0, notices=("b",), error="c", hint="d"
    )
    assert record_of(json.loads(record.as_json())) == record


def test_what_a_record_does_not_have_or_has_of_another_type_is_not_read():
    odd = {"status": 7, "seconds": [1], "evaluations": {"spatial": 2}, "resumed": True, "new": 1}
    assert record_of(odd) == RunRecord(evaluations={"spatial": 2})

import pytest
from diffusers import (
    AnimateDiffPipeline,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    TextToVideoSDPipeline,
)

from confiner_cli.config.hydra import settings_with
from confiner_cli.config.schema import ROLES
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.export import export
from confiner_cli.method.structure import leading, trailing

PIPELINES = {
    "control": AnimateDiffPipeline,
    "spatial": StableDiffusionPipeline,
    "temporal": TextToVideoSDPipeline,
}
SAMPLERS = {"control": EulerDiscreteScheduler, "spatial": DDIMScheduler, "temporal": DDIMScheduler}

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning:diffusers"
)


@pytest.fixture(scope="module")
def experts():
    return settings_with([]).experts


@pytest.mark.parametrize("role", ROLES)
def test_an_exported_folder_is_a_pipeline_with_every_part(role, exported_experts):
    pipeline = PIPELINES[role].from_pretrained(exported_experts / role, local_files_only=True)
    assert type(pipeline.scheduler) is SAMPLERS[role]
    assert all(
        getattr(pipeline, part) is not None for part in ("unet", "vae", "text_encoder", "tokenizer")
    )


@pytest.mark.parametrize("role", ROLES)
def test_an_exported_scheduler_has_the_experts_own_schedule_and_grid(
    role, exported_experts, experts
):
    expert = experts.role(role)
    scheduler = SAMPLERS[role].from_pretrained(exported_experts / role / "scheduler")
    schedule = expert.schedule
    levels = [schedule.level(t) for t in range(schedule.num_train_timesteps)]
    ours = [level.signal**2 for level in levels]
    assert scheduler.alphas_cumprod.tolist() == pytest.approx(ours, abs=1e-6)
    assert scheduler.config.prediction_type == expert.prediction_type
    for steps in (4, 20):
        scheduler.set_timesteps(steps)
        grid = (trailing if role == "control" else leading)(schedule, steps)
        assert tuple(scheduler.timesteps.int().tolist()) == grid.timesteps


def test_a_folder_that_is_not_empty_is_refused_and_not_touched(tmp_path, experts):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfinerError, match="is not empty"):
        list(export(experts.by_role(), tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

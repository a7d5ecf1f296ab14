"""Tab completion: command names, then all that Hydra completes."""

import pytest
from support.command_line import confiner
from support.own_configs import OWN


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("confiner ", {"generate", "experts", "show"}),
        ("confiner gen", {"generate"}),
        ("confiner mea", {"measure"}),
        ("confiner measure ", set()),
        ("confiner generate output.me", {"output.measure=", "output.metadata="}),
        ("confiner generate sch", {"scheduler=", "scheduler."}),
        ("confiner generate scheduler=conf", {"scheduler=confiner_9", "scheduler=confiner_18"}),
        ("confiner generate seed=1 scheduler.refinement.t", {"scheduler.refinement.te="}),
        ("confiner generate experts=", {"experts=tiny"}),
        ('confiner generate prompt="a (b), {c}" sch', {"scheduler=", "scheduler."}),
        (
            "confiner generate prompt=é 'negative_prompt=x y' scheduler=conf",
            {"scheduler=confiner_9"},
        ),
        ("confiner generate hydra/launcher=sl", {"hydra/launcher=slurm"}),
        (
            "confiner generate hydra/launcher=slurm hydra.launcher.par",
            {"hydra.launcher.partition="},
        ),
        ("confiner generate fr", {"from="}),
        ("confiner generate pro", {"prompt=", "prompt_file=", "prompts_file="}),
        ("confiner experts ", {"export", "convert"}),
        ('confiner generate prompt="a red sch', set()),
        ("confiner generate prompt=sch", set()),
        ("confiner generate seed=[1, sch", {"scheduler="}),
        (f"confiner generate -cd {OWN} experts=my", {"experts=mytiny"}),
        (f"confiner generate --config-dir {OWN} +exp", {"+experiment="}),
        (f"confiner plan scheduler=fa --config-dir {OWN} scheduler=fa", {"scheduler=fast"}),
        (f"confiner experts -cd {OWN} check my", {"mytiny"}),
        ("confiner generate --cfg job sch", {"scheduler="}),
        ("confiner generate -cd ./", set()),
        ("confiner show ", set()),
        ("confiner frobnicate s", set()),
    ],
)
def test_a_line_is_completed(monkeypatch, capfd, line, expected):
    monkeypatch.setenv("COMP_LINE", line)
    ending = confiner("-sc", "query=bash")
    assert (ending.code, ending.err) == (0, "")
    found = set(ending.out.split())
    assert expected <= found if expected else not found


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_the_script_to_install_completes_confiner(shell):
    ending = confiner("-sc", f"install={shell}")
    assert (ending.code, ending.err) == (0, "")
    assert "confiner" in ending.out

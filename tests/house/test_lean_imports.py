"""What a run imports of others: nothing that it does not need, and nothing is lost by that."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from support import lora_files
from support.command_line import PROMPT, SMALLEST, confiner

from confiner_cli.config.hydra import settings_with
from confiner_cli.experts.families import family_named
from confiner_cli.experts.lean_imports import declined
from confiner_cli.experts.loading import components_of

UNNEEDED = (
    "transformers", "peft", "torch._dynamo", "torch._inductor", "sympy", "torch.distributed.tensor",
    "torch.distributed.fsdp", "jinja2", "pytest", "scipy", "confiner_cli.gallery",
)  # fmt: skip
"""Seconds of what diffusers would take along, and what other commands import."""
ALL_EXPERTS = (
    "num_frames=1",
    "scheduler.structure.num_inference_steps=1",
    "scheduler.refinement.num_inference_steps=1",
)
COMMAND = f"""
import atexit, sys

def tell():
    print("imported:", *sorted(sys.modules.keys() & {set(UNNEEDED)!r}), file=sys.stderr)

atexit.register(tell)
from confiner_cli.cli import entry
entry()
"""


def process(program, *arguments, beside=None):
    """What a process of its own says on stderr, after it has ended well.

    `beside` is a folder with packages that are installed, too.
    """
    paths = [str(beside), *sys.path] if beside else sys.path
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def lora(tmp_path):
    """For the spatial expert's UNet."""
    spec = settings_with([]).experts.spatial
    components = components_of("spatial", spec, torch.device("cpu"), torch.float32)
    unet = family_named(spec.family).skeleton(components)
    layers = [name for name, _ in unet.named_modules() if name.endswith("attn2.to_k")]
    return lora_files.write(
        tmp_path / "lora.safetensors", lora_files.peft(lora_files.factors_for(unet, layers))
    )


@pytest.mark.thorough
def test_a_run_of_all_experts_imports_neither_compiler_nor_transformers_nor_peft(folder):
    said = process(COMMAND, "generate", PROMPT, *ALL_EXPERTS)
    assert said.splitlines()[-1].split() == ["imported:"]


@pytest.mark.thorough
def test_a_lora_is_merged_in_a_process_of_confiners_own_as_in_any_other(folder, lora):
    adapter = f"experts.spatial.loras=[{{path:{lora},scale:30}}]"
    words = (*SMALLEST, "seed=1", "output.save_latents=true", adapter)
    said = process(COMMAND, "generate", PROMPT, *words, "output.dir=own")
    assert "peft" in said.splitlines()[-1].split()
    confiner("generate", PROMPT, *words, "output.dir=here")
    confiner("generate", PROMPT, *words[:-1], "output.dir=without")
    own, here, without = (
        load_file(folder / name / "latents.safetensors")["refined"]
        for name in ("own", "here", "without")
    )
    assert torch.allclose(own, here, atol=1e-5)
    assert not torch.allclose(own, without, atol=1e-3)


AFTERWARDS = """
import sys
from confiner_cli.experts import lean_imports
lean_imports.OWN_PROCESS.set(True)
lean_imports.import_libraries()
import torch
from diffusers import UNet2DConditionModel
assert "torch._dynamo" not in sys.modules
sizes = {"block_out_channels": (8, 16), "norm_num_groups": 4, "cross_attention_dim": 16}
blocks = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
          "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "layers_per_block": 1}
unet = UNet2DConditionModel(**sizes, **blocks, attention_head_dim=2).requires_grad_(False)
given = torch.randn(1, 4, 8, 8), torch.tensor(5.0), torch.randn(1, 3, 16)
plain = unet(*given).sample
graphs = []
compiled = torch.compile(unet, backend=lambda graph, _: graphs.append(graph) or graph.forward)
assert torch.allclose(compiled(*given).sample, plain, atol=1e-5) and graphs

from diffusers.hooks.group_offloading import ModuleGroup
marked = [torch.compiler.disable(abs), ModuleGroup.onload_, ModuleGroup.offload_]
assert all(getattr(each, "__module__", None) for each in marked)
"""


@pytest.mark.thorough
def test_afterwards_networks_can_be_compiled_and_all_else_imported():
    process(AFTERWARDS)


BESIDE = """
import sys
from confiner_cli.experts import lean_imports
lean_imports.OWN_PROCESS.set(True)
lean_imports.import_libraries()
from diffusers.models.unets import UNet2DConditionModel
print(sys.argv[1] in sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("package", "is_taken_along"), [("torchvision", False), ("xformers", True)]
)
def test_what_is_installed_beside_may_need_the_compiler(tmp_path, package, is_taken_along):
    (tmp_path / package).mkdir()
    for file in ("__init__.py", "ops.py", "transforms.py"):
        (tmp_path / package / file).write_text("from torch._dynamo.utils import warn_once\n")
    metadata = tmp_path / f"{package}-99.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 99.0\n")
    said = process(BESIDE, package, beside=tmp_path)
    assert said.splitlines()[-1] == str(is_taken_along)


def test_a_module_that_is_there_is_not_declined_and_one_that_was_can_be_had_afterwards():
    sys.modules.pop("colorsys", None)
    with declined("colorsys", "json"):
        import json

        with pytest.raises(ModuleNotFoundError):
            import colorsys
        assert json
    import colorsys

    assert colorsys


def test_elsewhere_nothing_is_imported_in_another_way():
    process("""
from confiner_cli.experts.lean_imports import import_libraries
import_libraries()
import sys
assert "torch" not in sys.modules
""")

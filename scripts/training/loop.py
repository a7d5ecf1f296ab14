"""The one training loop: seeded by step and checkpointed, so that a kill changes nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from confiner_cli.files import atomic_write

SECONDS_BETWEEN_CHECKPOINTS = 60.0
STEPS_BETWEEN_LINES = 50
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""Where networks are trained. What is random is drawn on the CPU: the same everywhere."""


@dataclass(frozen=True)
class Recipe:
    """Numbers of one training run.

    `rates` multiplies the learning rate of parameters whose name holds the key.
    """

    name: str
    steps: int
    learning_rate: float
    warmup: int = 100
    ema: float = 0.999
    weight_decay: float = 0.01
    seed: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    other_rate: float = 1.0


def train(
    recipe: Recipe, module: nn.Module, loss: Callable[[torch.Generator], Tensor], folder: Path
) -> nn.Module:
    """Run `recipe.steps` steps of AdamW (cosine decay, EMA); the module gets averaged weights.

    `loss` gets a generator that is keyed by (seed, step) and draws everything random of its step
    from it. It meets the module on `DEVICE`; the module that is returned is on the CPU again.
    """
    module.to(DEVICE)
    path = folder / f"{recipe.name}.checkpoint.pt"
    optimiser = torch.optim.AdamW(
        _groups(recipe, module), lr=recipe.learning_rate, betas=(0.9, 0.99)
    )
    average = {key: value.detach().clone() for key, value in module.state_dict().items()}
    step = _resume(path, module, optimiser, average)
    module.train()
    started, saved, first, losses = time.monotonic(), time.monotonic(), step, []
    while step < recipe.steps:
        scale = _schedule(step, recipe)
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * group["rate"] * scale
        value = loss(torch.Generator().manual_seed(recipe.seed * 1_000_003 + step))
        if not torch.isfinite(value):
            raise FloatingPointError(f"{recipe.name}: the loss is not finite at step {step}")
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        step += 1
        _update(average, module, min(recipe.ema, (1 + step) / (10 + step)))
        losses.append(value.item())
        if step % STEPS_BETWEEN_LINES == 0:
            pace = (step - first) / (time.monotonic() - started)
            recent = sum(losses) / len(losses)
            print(
                f"{recipe.name} {step}/{recipe.steps} loss {recent:.4f} {pace:.2f} steps/s",
                flush=True,
            )
            losses.clear()
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS or step == recipe.steps:
            _save(path, module, optimiser, average, step)
            saved = time.monotonic()
    module.load_state_dict(average)
    return module.cpu().eval()


def on_device(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors where the module is."""
    return tuple(tensor.to(DEVICE) for tensor in tensors)


def _schedule(step: int, recipe: Recipe) -> float:
    warm = min(1.0, (step + 1) / recipe.warmup)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))


def _groups(recipe: Recipe, module: nn.Module) -> Iterable[dict[str, Any]]:
    rates: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            rate = next(
                (rate for part, rate in recipe.rates.items() if part in name), recipe.other_rate
            )
            rates.setdefault(rate, []).append(parameter)
    return [
        {"params": parameters, "rate": rate, "weight_decay": recipe.weight_decay}
        for rate, parameters in rates.items()
    ]


@torch.no_grad()
def _update(average: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, 1 - decay)
        else:
            average[key].copy_(value)


def _save(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor],
    step: int,
) -> None:
    state = {
        "step": step,
        "module": module.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": average,
    }
    with atomic_write(path) as temporary:
        torch.save(state, temporary)


def _resume(
    path: Path, module: nn.Module, optimiser: torch.optim.Optimizer, average: dict[str, Tensor]
) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    module.load_state_dict(state["module"])
    optimiser.load_state_dict(state["optimiser"])
    for key, value in state["average"].items():
        average[key].copy_(value)
    print(f"goes on from step {state['step']} of {path.name}", flush=True)
    return int(state["step"])

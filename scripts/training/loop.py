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
    training = _begun(recipe, module, folder)
    module.train()
    started = saved = time.monotonic()
    first, losses = training.step, list[float]()
    while training.step < recipe.steps:
        losses.append(training.advance(loss))
        step = training.step
        if step % STEPS_BETWEEN_LINES == 0:
            recent = sum(losses) / len(losses)
            pace = (step - first) / (time.monotonic() - started)
            told = f"loss {recent:.4f} {pace:.2f} steps/s"
            print(f"{recipe.name} {step}/{recipe.steps} {told}", flush=True)
            losses.clear()
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS or step == recipe.steps:
            training.save()
            saved = time.monotonic()
    module.load_state_dict(training.average)
    return module.cpu().eval()


@dataclass
class _Training:
    """A module on its way, and all that a checkpoint has of it.

    Attributes:
        recipe: its numbers.
        module: what is trained, on `DEVICE`.
        optimiser: of its parameters, with groups as `_groups` makes them.
        average: the moving average of its weights, by name.
        path: the checkpoint.
        step: how many steps are done.
    """

    recipe: Recipe
    module: nn.Module
    optimiser: torch.optim.Optimizer
    average: dict[str, Tensor]
    path: Path
    step: int = 0

    def advance(self, loss: Callable[[torch.Generator], Tensor]) -> float:
        """Do one step; returns its loss."""
        recipe, step = self.recipe, self.step
        scale = _schedule(step, recipe)
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.learning_rate * group["rate"] * scale
        value = loss(torch.Generator().manual_seed(recipe.seed * 1_000_003 + step))
        if not torch.isfinite(value):
            raise FloatingPointError(f"{recipe.name}: the loss is not finite at step {step}")
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        # A short memory at first: the average must not remember the start.
        _update(self.average, self.module, min(recipe.ema, (1 + self.step) / (10 + self.step)))
        return float(value.item())

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "step": self.step,
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
        }
        with atomic_write(self.path) as temporary:
            torch.save(state, temporary)

    def resume(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        for key, value in state["average"].items():
            self.average[key].copy_(value)
        self.step = int(state["step"])
        print(f"goes on from step {self.step} of {self.path.name}", flush=True)


def _begun(recipe: Recipe, module: nn.Module, folder: Path) -> _Training:
    """The training of a module from its start, or from its checkpoint if there is one."""
    module.to(DEVICE)
    groups = _groups(recipe, module)
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.99))
    average = {key: value.detach().clone() for key, value in module.state_dict().items()}
    path = folder / f"{recipe.name}.checkpoint.pt"
    training = _Training(recipe, module, optimiser, average, path)
    if path.exists():
        training.resume()
    return training


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

"""GEGLU (arXiv 2002.05202) in two products of matrices instead of the halves of one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu, linear


class SplitGEGLU(nn.Module):
    """diffusers' `GEGLU`, whose two halves are tensors of their own.

    The products take as long. But on a CPU what comes after them reads and writes whole rows, and
    in place: half of a row at a time takes twice as long.
    """

    def __init__(self, proj: nn.Linear) -> None:
        """Take over the weights: the value's rows, then the gate's."""
        super().__init__()
        self.proj = proj

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`(..., width)` to `(..., half of the weights' rows)`."""
        value, gate = self.proj.weight.chunk(2)
        bias = self.proj.bias
        value_bias, gate_bias = (None, None) if bias is None else bias.chunk(2)
        opened = gelu(linear(hidden_states, gate, gate_bias))
        return opened.mul_(linear(hidden_states, value, value_bias))

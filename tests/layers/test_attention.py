"""ComiRec-SA's attention in the precisions that it is trained in."""

from __future__ import annotations

import pytest
import torch

from rechub_cli.layers.attention import SelfAttentiveInterests
from rechub_cli.layers.past import PastItems


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 0.008)])
def test_weights_are_those_of_tanh(dtype: torch.dtype, bound: float) -> None:
    """Against the equation in float64: bf16 may lose what its inputs lose, and no more."""
    torch.manual_seed(0)
    layer = SelfAttentiveInterests(64, num_interests=4, hidden_dim=256, max_len=20)
    with torch.no_grad():
        layer.scores.weight *= 4
    vectors, lengths = torch.randn(64, 20, 64) / 8, torch.full((64,), 20)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = layer(PastItems(vectors), lengths).double()
    recent, position = vectors.flip(1).double(), layer.position.double()
    hidden = torch.tanh((recent + position) @ layer.hidden.weight.double().T)
    weights = torch.softmax(hidden @ layer.scores.weight.double().T, dim=1)
    expected = weights.transpose(1, 2) @ recent
    assert float(((found - expected).norm() / expected.norm()).detach()) < bound

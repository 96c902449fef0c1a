"""Dropout whose mask costs little on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rechub_cli.checks import check, share_rule


class Dropout(nn.Module):
    """Zeroes a share p of the values in training and scales the others by 1 / (1 - p).

    p: in [0, 1), or ConfigError is raised; on the CPU rounded to 1/65536, as the mask is drawn 16
    bits a value: torch's own draws a double a value, five times the time.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        check({"dropout": p}, share_rule("dropout", p))
        self.p = p
        self.threshold = min(max(round(p * 65536), 1), 65535)

    @property
    def active(self) -> bool:
        return self.training and self.p > 0.0

    def forward(self, x: Tensor) -> Tensor:
        if not self.active:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.p)
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        values = words.view(torch.int16)[: x.numel()].view(x.shape)
        # As floats, at 4 bytes a value until the gradient: comparing words and multiplying by
        # booleans take twice the time.
        kept = values.float().ge_(self.threshold - 32768)
        return (x * kept.mul_(65536 / (65536 - self.threshold))).to(x.dtype)

    def extra_repr(self) -> str:
        return f"p={self.p}"

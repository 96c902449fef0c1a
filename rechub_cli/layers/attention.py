"""Attention over a history. B rows, P positions, K interests, D width, H hidden width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rechub_cli.checks import check_whole
from rechub_cli.layers.history import last_items
from rechub_cli.layers.past import PastItems


class SelfAttentiveInterests(nn.Module):
    """Interests [B, K, D] by ComiRec-SA's attention (Cen 2020, section 3.2).

    H = tanh(W1 X + W1 P), A = softmax over positions of W2 H, V = A^T X; P is learned, counted
    from the end, and enters the attention only, as in the authors' code. No bias, as in the
    paper. An empty history gives zeros. max_len: most recent items that count. hidden_dim: H.
    """

    def __init__(self, dim: int, *, num_interests: int, hidden_dim: int, max_len: int) -> None:
        super().__init__()
        check_whole(hidden_dim=hidden_dim, max_len=max_len)
        self.max_len = max_len
        self.position = nn.Parameter(torch.empty(max_len, dim))
        nn.init.normal_(self.position, std=dim**-0.5)
        self.hidden = nn.Linear(dim, hidden_dim, bias=False)
        self.scores = nn.Linear(hidden_dim, num_interests, bias=False)
        for layer in (self.hidden, self.scores):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, past: PastItems, lengths: Tensor) -> Tensor:
        recent, mask = last_items(past, lengths, max_len=self.max_len)
        scores = self._scores(recent).transpose(1, 2)  # [B, K, P]
        real = mask.unsqueeze(1)
        # Zeros for an empty row: softmax over nothing would be NaN.
        scores = scores.masked_fill(~real, torch.finfo(scores.dtype).min)
        return torch.bmm(torch.softmax(scores, dim=-1) * real, recent.expand())  # [B, K, D]

    def _scores(self, recent: PastItems) -> Tensor:
        """Scores [B, P, K], up to a number that all positions of an interest share."""
        position = nn.functional.linear(self.position[: recent.width], self.hidden.weight)  # [P, H]
        if position.dtype in (torch.bfloat16, torch.float16):
            scores: Tensor = self.scores(torch.tanh(recent.map(self.hidden).expand() + position))
            return scores
        # tanh(y) = 2 sigmoid(2 y) - 1, whose -1 the softmax does not see. On a CPU a sigmoid
        # and its gradient take a sixth of tanh's time; with few bits it would lose small y.
        twice = recent.map(lambda vectors: 2 * self.hidden(vectors)).expand() + 2 * position
        scores = 2 * self.scores(torch.sigmoid(twice))
        return scores

"""Attention over a history. B rows, P positions, K interests, D width, H hidden width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rechub_cli.layers.history import last_items


class SelfAttentiveInterests(nn.Module):
    """Interests [B, K, D] by ComiRec-SA's attention (Cen 2020, section 3.2).

    H = tanh(W1 (X + P)), A = softmax over positions of W2 H, V = A^T X; P is learned, counted
    from the end, and enters the attention only, as in the authors' code. No bias, as in the
    paper. An empty history gives zeros. max_len: most recent items that count. hidden_dim: H.
    """

    def __init__(self, dim: int, *, num_interests: int, hidden_dim: int, max_len: int) -> None:
        super().__init__()
        self.max_len = max_len
        self.position = nn.Parameter(torch.empty(max_len, dim))
        nn.init.normal_(self.position, std=dim**-0.5)
        self.hidden = nn.Linear(dim, hidden_dim, bias=False)
        self.scores = nn.Linear(hidden_dim, num_interests, bias=False)
        for layer in (self.hidden, self.scores):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        recent, mask = last_items(vectors, lengths, max_len=self.max_len)  # [B, P, D], [B, P]
        before = self.hidden(recent + self.position[: recent.shape[1]])  # [B, P, H]
        scores = self._scores(before).transpose(1, 2)  # [B, K, P]
        real = mask.unsqueeze(1)
        # Zeros for an empty row: softmax over nothing would be NaN.
        scores = scores.masked_fill(~real, torch.finfo(scores.dtype).min)
        return torch.bmm(torch.softmax(scores, dim=-1) * real, recent)  # [B, K, D]

    def _scores(self, before: Tensor) -> Tensor:
        """Scores [B, P, K], up to a number that all positions of an interest share."""
        if before.dtype in (torch.bfloat16, torch.float16):
            scores: Tensor = self.scores(torch.tanh(before))
        else:
            # tanh(y) = 2 sigmoid(2 y) - 1, whose -1 the softmax does not see. On a CPU a sigmoid
            # and its gradient take a sixth of tanh's time; with few bits it would lose small y.
            scores = 2 * self.scores(torch.sigmoid(2 * before))
        return scores

"""Causal self-attention over a history (Kang 2018). B rows, L length, D width, H heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rechub_cli.checks import check, check_known, check_whole, divides_rule
from rechub_cli.layers.dropout import Dropout
from rechub_cli.layers.history import SequenceLayer, recent_positions
from rechub_cli.layers.init import init_near_identity
from rechub_cli.layers.past import vectors_at


class CausalTransformer(SequenceLayer):
    """Each position's view of itself and of what stands before it: [B, L, D] -> [B, L, D].

    x = sqrt(D) e; blocks of pre-norm causal attention and a feed-forward net; a last norm.
    Positions behind ``lengths`` are undefined and change nothing before them. max_len: most
    positions, L <= max_len. hidden_dim: of the feed-forward net. dropout: of the input, and of
    what each half of a block adds. attention_dropout: of the attention's weights.
    positions: ``relative``: each head of a block adds a learned number to its scores, one a
        distance (Raffel 2020, without buckets), so that every position of a training window reads
        its past as the last one does when served. ``end``: x = sqrt(D) e + P, P learned by the
        position counted from the end, which only the last one has when served.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_blocks: int,
        num_heads: int,
        hidden_dim: int,
        dropout: float,
        attention_dropout: float,
        max_len: int,
        positions: str,
    ) -> None:
        super().__init__()
        check_known("positions", positions, POSITIONS)
        check_whole(num_blocks=num_blocks, num_heads=num_heads, hidden_dim=hidden_dim)
        relative = positions == "relative"
        self.scale = dim**0.5
        self.max_len = max_len
        self.position = None if relative else nn.Parameter(torch.empty(max_len, dim))
        if self.position is not None:
            nn.init.normal_(self.position, std=dim**-0.5)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            CausalBlock(
                dim,
                num_heads=num_heads,
                hidden_dim=hidden_dim,
                dropout=dropout,
                attention_dropout=attention_dropout,
                distances=max_len if relative else 0,
            )
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        x = self._input(vectors, lengths)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out

    def last(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """The last block reads all positions, but makes no more than this one: [B, 1, D]."""
        x = self._input(vectors, lengths)
        *before, last_block = self.blocks
        for block in before:
            x = block(x)
        out: Tensor = self.norm(last_block(x, at=(lengths - 1).clamp(min=0)))
        return out

    def _input(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        x = self.scale * vectors
        if self.position is not None:
            position, _ = recent_positions(lengths, vectors.shape[1], max_len=self.max_len)
            x = x + nn.functional.embedding(position, self.position)
        out: Tensor = self.dropout(x)
        return out


class CausalBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)).

    Queries, keys and values are all taken from the normed input (true pre-norm; Kang 2018 norms
    the queries only), and attention ends in a projection. Values and that projection start near the
    identity, so that a position starts among the items that it sees. distances: how many have a
    learned number of their own that is added to the scores, one a head; 0: no such numbers.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        hidden_dim: int,
        dropout: float,
        attention_dropout: float = 0.0,
        distances: int = 0,
    ) -> None:
        super().__init__()
        check({"num_heads": num_heads}, divides_rule("num_heads", num_heads, dim))
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, dim)
        )
        self.dropout, self.attention_dropout = Dropout(dropout), Dropout(attention_dropout)
        self.distance = nn.Parameter(torch.zeros(distances, num_heads)) if distances else None
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        init_near_identity(self.out.weight)
        init_near_identity(self.query_key_value.weight[2 * dim :])

    def forward(self, x: Tensor, at: Tensor | None = None) -> Tensor:
        """[B, L, D]; or [B, 1, D], the one at the position ``at``, int64 [B]."""
        normed = self.attention_norm(x)
        if at is None:
            mixed = self._attention(normed)
        else:
            mixed, x = self._attention_at(normed, at), vectors_at(x, at.unsqueeze(1))
        x = x + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        out: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return out

    def _attention(self, x: Tensor) -> Tensor:
        heads = self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each [B, H, L, D / H]
        steps = torch.arange(x.shape[1], device=x.device)
        apart = steps.unsqueeze(1) - steps
        bias = None if self.distance is None else distance_bias(self.distance, apart)  # [H, L, L]
        return causal_attention(query, key, value, bias, self.attention_dropout)

    def _attention_at(self, x: Tensor, at: Tensor) -> Tensor:
        """One query a row: [B, H, 1, D / H]."""
        dim = x.shape[2]
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        query = nn.functional.linear(vectors_at(x, at.unsqueeze(1)), weight[:dim], bias[:dim])
        query = query.view(x.shape[0], 1, self.num_heads, -1).transpose(1, 2)  # [B, H, 1, D / H]
        past = nn.functional.linear(x, weight[dim:], bias[dim:])
        key, value = past.view(*x.shape[:2], 2, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        apart = at.unsqueeze(1) - torch.arange(x.shape[1], device=x.device)  # [B, L]
        distance = x.new_zeros(x.shape[1], 1) if self.distance is None else self.distance
        added = distance_bias(distance, apart).transpose(0, 1).unsqueeze(2)  # [B, H or 1, 1, L]
        return weighted_values(query, key, value, added, self.attention_dropout)


POSITIONS = ("relative", "end")

SHORT = 256
"""Up to this length a CPU is faster with whole score matrices than with the fused kernel. Ours take
.8 to .95 of the time of torch's (SDPBackend.MATH)."""


def distance_bias(distance: Tensor, apart: Tensor) -> Tensor:
    """[H, ...]: of numbers [distances, H], what a query adds for a key that stands ``apart``
    places before it, int64 [...]; -inf for a later key."""
    bias = nn.functional.embedding(apart.clamp(min=0), distance).movedim(-1, 0)
    return bias.masked_fill(apart < 0, float("-inf"))


def weighted_values(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: Dropout
) -> Tensor:
    """dropout(softmax(q k / sqrt(width) + bias)) v, with whole score matrices."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + bias
    found: Tensor = dropout(torch.softmax(scores, dim=-1)) @ value
    return found


def causal_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: Dropout
) -> Tensor:
    """See weighted_values; over the positions up to each one's own.

    query, key, value: [B, H, L, width], as is the result. bias: see distance_bias; None: 0.
    Right-padding stands behind the end, where the causal mask hides it by itself.
    """
    on_cpu = query.device.type == "cpu" and not torch.onnx.is_in_onnx_export()
    if on_cpu and (dropout.active or query.shape[2] <= SHORT):
        if bias is None:
            bias = query.new_full((query.shape[2],) * 2, float("-inf")).triu(1)
        return weighted_values(query, key, value, bias, dropout)
    return nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=bias,
        is_causal=bias is None,
        dropout_p=dropout.p * dropout.active,
    )

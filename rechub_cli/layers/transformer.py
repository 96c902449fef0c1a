"""Causal self-attention over a history (Kang 2018). B rows, L length, D width, H heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rechub_cli.errors import RechubError
from rechub_cli.layers.dropout import Dropout
from rechub_cli.layers.history import recent_positions


class CausalTransformer(nn.Module):
    """Each position's view of itself and of what stands before it: [B, L, D] -> [B, L, D].

    x = sqrt(D) e + P, P learned by position counted from the end; blocks of pre-norm causal
    attention and a feed-forward net; a last norm. Positions behind ``lengths`` are undefined and
    change nothing before them. max_len: most positions, L <= max_len. hidden_dim: of the
    feed-forward net. dropout: of the input, and of what each half of a block adds.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_blocks: int,
        num_heads: int,
        hidden_dim: int,
        dropout: float,
        max_len: int,
    ) -> None:
        super().__init__()
        self.scale = dim**0.5
        self.max_len = max_len
        self.position = nn.Parameter(torch.empty(max_len, dim))
        nn.init.normal_(self.position, std=dim**-0.5)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            CausalBlock(dim, num_heads=num_heads, hidden_dim=hidden_dim, dropout=dropout)
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        position, _ = recent_positions(lengths, vectors.shape[1], max_len=self.max_len)
        x = self.scale * vectors + nn.functional.embedding(position, self.position)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out


class CausalBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)).

    Queries, keys and values are all taken from the normed input (true pre-norm; Kang 2018 norms
    the queries only), and attention ends in a projection.
    """

    def __init__(self, dim: int, *, num_heads: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        if dim % num_heads:
            raise RechubError(f"num_heads={num_heads} does not divide the width {dim}")
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, dim)
        )
        self.dropout = Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self._attention(self.attention_norm(x)))
        out: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return out

    def _attention(self, x: Tensor) -> Tensor:
        heads = self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each [B, H, L, D / H]
        mixed = causal_attention(query, key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


SHORT = 256
"""Up to this length a CPU is faster with whole score matrices than with the fused kernel."""


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k / sqrt(width)) v over the positions up to each one's own: [B, H, L, width].

    Right-padding stands behind the end, where the causal mask hides it by itself.
    """
    plain = query.device.type == "cpu" and not torch.onnx.is_in_onnx_export()
    if plain and query.shape[2] <= SHORT:
        with sdpa_kernel(SDPBackend.MATH):
            return nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)

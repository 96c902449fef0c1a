"""Dynamic routing of items to interests: MIND's (Li 2019, section 4.2), ComiRec-DR's (Cen 2020).

B rows, L history length, D width, K interests.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rechub_cli.checks import check_known, check_whole
from rechub_cli.layers.embedding import length_mask
from rechub_cli.layers.history import last_items, recent_positions
from rechub_cli.layers.init import init_near_identity
from rechub_cli.layers.past import PastItems

INITIAL_STD = 0.1
AGREEMENTS = ("cosine", "dot")
INITIAL_SCALE = 2.0
MAX_POWER = 62
"""2^62 is the last power of 2 that an int64 can be held against; no history is as long."""


def squash(z: Tensor) -> Tensor:
    """|z|^2 / (1 + |z|^2) * z / |z| over the last axis; 0 stays 0."""
    norm: Tensor = torch.linalg.vector_norm(z, dim=-1, keepdim=True)  # whose gradient is 0 at 0
    return z * (norm / (1 + norm * norm))


def interest_counts(lengths: Tensor, num_interests: int) -> Tensor:
    """K' = clamp(floor(log2 L), 1, K), int64 [B]."""
    counts = torch.ones_like(lengths)
    for k in range(2, min(num_interests, MAX_POWER) + 1):
        counts = counts + (lengths >= 2**k)
    return counts


class Agreement(nn.Module):
    """What an iteration adds to the routing logits: how near items are to interests, [B, K, L].

    kind: ``dot``, the papers' <v_k, e_p>; or ``cosine``, exp(s) cos(v_k, e_p) with a learned s,
    from exp(s) = INITIAL_SCALE on. Vectors get no gradient through the logits, and a squashed
    interest is shorter than 1, so by dot the routing of short vectors stays near uniform, and all
    interests near one; the scale alone learns how sharply the data's users divide. A routing of one
    iteration compares nothing, and has no scale. Source: routing by agreement of Sabour 2017; the
    cosine and its scale are ours.
    """

    def __init__(self, kind: str, *, iterations: int) -> None:
        super().__init__()
        check_known("agreement", kind, AGREEMENTS)
        self.log_scale: nn.Parameter | None = None
        if kind == "cosine" and iterations > 1:
            self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))

    def compared(self, vectors: Tensor) -> Tensor:
        """Vectors in the form in which their inner product is taken."""
        return vectors if self.log_scale is None else nn.functional.normalize(vectors, dim=-1)

    def forward(self, nearness: Tensor) -> Tensor:
        """nearness: inner products of what ``compared`` gave."""
        return nearness if self.log_scale is None else self.log_scale.exp() * nearness


class CapsuleRouting(nn.Module):
    """Interests [B, K, D] of a history of L items; an empty history gives zeros.

    One bilinear map S for all behaviours and interests; w = softmax over *interests* of the
    routing logits, unused interests at -inf; z_j = sum_i w_ij exp(r_i) S e_i; squash.
    Only the last iteration carries a gradient, as in the authors' later code (ComiRec), and
    through its logits only the scale of a cosine does (see Agreement).

    Deviations from the paper: the initial logits are drawn once into a buffer indexed from the
    *end* of the history (a tower must be a function; the paper draws anew at each call), from
    N(0, 0.1^2) in place of N(0, 1), under which the draw outweighs what routing can learn from
    vectors of norm 1 (ml-100k, Recall@50: .49 against .41); ``recency`` adds a learned
    weight exp(r) by position from the end; S starts near the identity; and agreement by cosine.

    num_interests: K >= 1. iterations: >= 1. max_len: most recent items that count. agreement:
    see Agreement.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_interests: int,
        iterations: int,
        max_len: int,
        recency: bool,
        agreement: str,
    ) -> None:
        super().__init__()
        check_whole(iterations=iterations, max_len=max_len)
        self.num_interests, self.iterations, self.max_len = num_interests, iterations, max_len
        self.bilinear = nn.Linear(dim, dim, bias=False)
        init_near_identity(self.bilinear.weight)
        self.initial_logits: Tensor
        self.register_buffer("initial_logits", INITIAL_STD * torch.randn(num_interests, max_len))
        self.recency = nn.Parameter(torch.zeros(max_len)) if recency else None
        self.agreement = Agreement(agreement, iterations=iterations)

    def forward(self, past: PastItems, lengths: Tensor) -> Tensor:
        mapped = past.map(self.bilinear).expand()  # [B, L, D]
        position, mask = recent_positions(lengths, past.width, max_len=self.max_len)
        counts = interest_counts(lengths.clamp(max=self.max_len), self.num_interests)
        used = length_mask(counts, self.num_interests)  # [B, K]
        strength = mask.to(mapped.dtype)
        if self.recency is not None:
            strength = strength * self.recency[position].exp()
        logits = self.initial_logits[:, position].transpose(0, 1)  # [B, K, L]
        logits = logits.masked_fill(~used.unsqueeze(-1), torch.finfo(logits.dtype).min)
        fixed = mapped.detach()
        compared = self.agreement.compared(fixed).transpose(1, 2)
        for _ in range(self.iterations - 1):
            interests = self._interests(logits.detach(), strength.detach(), fixed)
            nearness = torch.bmm(self.agreement.compared(interests), compared)
            logits = logits + self.agreement(nearness)  # [B, K, L]
        interests = self._interests(logits, strength, mapped)
        # A max over the interests is then right without a mask.
        return torch.where(used.unsqueeze(-1), interests, interests[:, :1])

    def _interests(self, logits: Tensor, strength: Tensor, mapped: Tensor) -> Tensor:
        weights = torch.softmax(logits, dim=1) * strength.unsqueeze(1)
        return squash(torch.bmm(weights, mapped))  # [B, K, D]


class PositionalRouting(nn.Module):
    """Interests [B, K, D] by ComiRec-DR's routing (Cen 2020, section 3.2 and algorithm 1).

    As CapsuleRouting, but with a map of its own for every interest and every position, counted
    from the end, with a fixed K and with logits that start at 0. As in the authors' code only
    the last iteration carries a gradient. An empty history gives zeros.

    Deviation: positions from the end (the authors count from the start of a padded history), and
    maps that start near the identity.
    """

    def __init__(
        self, dim: int, *, num_interests: int, iterations: int, max_len: int, agreement: str
    ) -> None:
        super().__init__()
        check_whole(iterations=iterations, max_len=max_len)
        self.iterations, self.max_len = iterations, max_len
        self.agreement = Agreement(agreement, iterations=iterations)
        self.maps = nn.Parameter(torch.empty(max_len, num_interests, dim, dim))
        init_near_identity(self.maps)

    def forward(self, past: PastItems, lengths: Tensor) -> Tensor:
        last, mask = last_items(past, lengths, max_len=self.max_len)
        recent, maps = last.expand(), self.maps[: last.width]  # [B, P, D], [P, K, D, D]
        # In one piece: each product below would copy it for itself.
        mapped = torch.einsum("bpd,pked->bkpe", recent, maps).contiguous()  # [B, K, P, D]
        fixed, strength = mapped.detach(), mask.to(mapped.dtype).unsqueeze(1)
        compared = self.agreement.compared(fixed)
        logits = torch.zeros_like(fixed[..., 0])  # [B, K, P]
        for _ in range(self.iterations - 1):
            interests = self.agreement.compared(self._interests(logits.detach(), strength, fixed))
            nearness = torch.einsum("bkd,bkpd->bkp", interests, compared)
            logits = logits + self.agreement(nearness)
        return self._interests(logits, strength, mapped)

    def _interests(self, logits: Tensor, strength: Tensor, mapped: Tensor) -> Tensor:
        weights = torch.softmax(logits, dim=1) * strength
        return squash(torch.einsum("bkp,bkpd->bkd", weights, mapped))


class InterestRouting(nn.Module):
    """As PositionalRouting, with one map S_k an interest and one learned weight exp(r_p) a position
    in the sum, for a map a position and interest: z_k = S_k sum_p w_kp exp(r_p) e_p.

    K D^2 numbers for its K D^2 a position, which soon know the users by heart (ml-100k, validation
    NDCG@10, 1 seed: .1456 for .1240). No item is mapped: <v_k, S_k e_p> is <S_k' v_k, e_p>, and
    the cosine is that of S_k' v_k with e_p.
    """

    def __init__(
        self, dim: int, *, num_interests: int, iterations: int, max_len: int, agreement: str
    ) -> None:
        super().__init__()
        check_whole(iterations=iterations, max_len=max_len)
        self.iterations, self.max_len = iterations, max_len
        self.agreement = Agreement(agreement, iterations=iterations)
        self.maps = nn.Parameter(torch.empty(num_interests, dim, dim))
        init_near_identity(self.maps)
        self.recency = nn.Parameter(torch.zeros(max_len))

    def forward(self, past: PastItems, lengths: Tensor) -> Tensor:
        items = past.expand()  # [B, L, D]
        position, mask = recent_positions(lengths, past.width, max_len=self.max_len)
        strength = (mask.to(items.dtype) * self.recency[position].exp()).unsqueeze(1)
        fixed, maps = items.detach(), self.maps.detach()
        compared = self.agreement.compared(fixed).transpose(1, 2)
        logits = torch.zeros_like(strength).repeat(1, len(maps), 1)  # [B, K, L]
        for _ in range(self.iterations - 1):
            interests = self._interests(logits.detach(), strength.detach(), fixed, maps)
            wanted = torch.einsum("bke,ked->bkd", interests, maps)  # S_k' v_k
            nearness = torch.bmm(self.agreement.compared(wanted), compared)
            logits = logits + self.agreement(nearness)
        return self._interests(logits, strength, items, self.maps)

    def _interests(self, logits: Tensor, strength: Tensor, items: Tensor, maps: Tensor) -> Tensor:
        share = torch.softmax(logits, dim=1)
        sums = torch.bmm(share * strength, items)
        return squash(torch.einsum("bkd,ked->bke", sums, maps))

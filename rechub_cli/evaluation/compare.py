"""The baselines of a data set, measured as the model is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from rechub_cli.data.dataset import HELD_OUT, MatchData
from rechub_cli.evaluation.baselines import Popularity, SequentialRules
from rechub_cli.evaluation.metrics import compute_metrics
from rechub_cli.evaluation.ranking import Ranking, Scorer, rank_queries

RULES = {"window": 10, "history": 10, "decay": 0.8}


def rank_scorer(
    scorer: Scorer,
    data: MatchData,
    *,
    split: str,
    top_k: Sequence[int],
    mask_seen: bool,
    candidates: Tensor | None = None,
) -> tuple[dict[str, float], Ranking]:
    """Metrics of any scorer under exact full ranking of a split's queries, and the ranking itself.

    split: valid or test. candidates: bool [I]; None: all that may be ranked.
    """
    allowed = data.candidates if candidates is None else candidates
    ranking = rank_queries(
        scorer,
        interactions=data.interactions,
        queries=data.queries(split),
        candidates=allowed,
        mask_seen=mask_seen,
        top_k=top_k,
    )
    return compute_metrics(ranking, top_k=top_k, num_items=int(allowed.sum())), ranking


def baseline_metrics(
    data: MatchData,
    *,
    top_k: Sequence[int],
    mask_seen: bool,
    splits: Sequence[str] = HELD_OUT,
    candidates: Tensor | None = None,
) -> dict[str, Any]:
    """Popularity (the floor) and sequential rules (the reference), with the rules' settings."""
    train_end = data.split.train_end
    popularity = Popularity.fit(data.interactions, train_end)
    rules = SequentialRules.fit(
        data.interactions,
        train_end,
        window=int(RULES["window"]),
        history=int(RULES["history"]),
        decay=RULES["decay"],
    )
    out: dict[str, Any] = {
        name: {
            split: rank_scorer(
                baseline.scorer(data.queries(split)),
                data,
                split=split,
                top_k=top_k,
                mask_seen=mask_seen,
                candidates=candidates,
            )[0]
            for split in splits
        }
        for name, baseline in (("popularity", popularity), ("sequential_rules", rules))
    }
    out["sequential_rules"]["settings"] = RULES
    return out

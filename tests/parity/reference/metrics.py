"""Ranking metrics of one query, with ties against the model.

Sources: Jarvelin and Kekalainen 2002 (NDCG with binary gains), Krichene and Rendle 2020 (metrics on
full rankings). HR, recall, precision and MRR as usually defined; NDCG's ideal has min(k, targets)
hits; MRR@k is zero when the first hit is below k.
"""

from __future__ import annotations

import math

import numpy as np

KS = [1, 2, 3, 5]
QUERIES = [
    {"scores": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], "seen": [], "targets": [2]},
    {"scores": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], "seen": [0, 1], "targets": [2, 5]},
    {"scores": [0.5, 0.5, 0.5, 0.1, 0.9, 0.5], "seen": [], "targets": [0]},
    {"scores": [0.5, 0.5, 0.5, 0.1, 0.9, 0.5], "seen": [4, 1], "targets": [0, 3, 5]},
    {"scores": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0], "seen": [], "targets": [3]},
    {"scores": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "seen": [5], "targets": [4, 3, 2, 1, 0]},
]
BY_HAND = {
    (0, 3): {"hr": 1.0, "recall": 1.0, "precision": 1 / 3, "mrr": 1 / 3, "ndcg": 0.5},
    (1, 2): {"hr": 1.0, "recall": 0.5, "precision": 0.5, "mrr": 1.0, "ndcg": 0.6131471927654584},
    (2, 3): {"hr": 0.0, "recall": 0.0, "precision": 0.0, "mrr": 0.0, "ndcg": 0.0},
    (2, 5): {"hr": 1.0, "recall": 1.0, "precision": 0.2, "mrr": 0.2, "ndcg": 0.38685280723454163},
    (4, 5): {"hr": 0.0, "recall": 0.0, "precision": 0.0, "mrr": 0.0, "ndcg": 0.0},
    (5, 2): {"hr": 1.0, "recall": 0.4, "precision": 1.0, "mrr": 1.0, "ndcg": 1.0},
}


def target_ranks(query: dict) -> list[int]:
    """1-based ranks of the targets: candidates sorted by score, at ties non-targets first."""
    candidates = [i for i in range(len(query["scores"])) if i not in query["seen"]]
    order = sorted(candidates, key=lambda i: (-query["scores"][i], i in query["targets"]))
    return [place for place, item in enumerate(order, start=1) if item in query["targets"]]


def metrics(query: dict, k: int) -> dict[str, float]:
    """HR, recall, precision, MRR and NDCG at k."""
    hits = [rank for rank in target_ranks(query) if rank <= k]
    total = len(query["targets"])
    gain = sum(1 / math.log2(rank + 1) for rank in hits)
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, total) + 1))
    return {
        "hr": float(bool(hits)),
        "recall": len(hits) / total,
        "precision": len(hits) / k,
        "mrr": 1 / min(hits) if hits else 0.0,
        "ndcg": gain / ideal,
    }


def values() -> dict:
    """Queries, and for each k the metrics of each query and their mean."""
    for (row, k), expected in BY_HAND.items():
        found = metrics(QUERIES[row], k)
        np.testing.assert_allclose(
            [found[name] for name in expected], list(expected.values()), rtol=1e-12
        )
    each = {str(k): [metrics(query, k) for query in QUERIES] for k in KS}
    return {
        "source": "definitions: Jarvelin and Kekalainen 2002; Krichene and Rendle 2020",
        "conventions": [
            "seen items are no candidates; no target is seen",
            "rank of a target: 1 + candidates that are no target and score >= it + targets that "
            "rank before it (ties count against the model)",
            "recall = hits / targets; precision = hits / k; hr = any hit; mrr = 1 / rank of the "
            "first hit, 0 below k; ndcg = dcg / ideal over min(k, targets), gain 1/log2(rank + 1)",
            "mean: over the queries",
        ],
        "inputs": {"queries": QUERIES, "k": KS},
        "expected": {
            "target_ranks": [target_ranks(query) for query in QUERIES],
            "per_query": each,
            "mean": {
                k: {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
                for k, rows in each.items()
            },
        },
    }

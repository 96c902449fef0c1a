"""What follows from how many events teach an item its vector."""

from __future__ import annotations

FEW, MOST = 30, 0.5
"""So many training events of an item are few: its vector is soon learned by heart; most dropout."""


def dropout_share(events_per_item: float, *, least: float = 0.0) -> float:
    """The more events an item has the less: FEW / them, at most MOST."""
    return max(least, min(MOST, FEW / max(events_per_item, 1.0)))


def causal_dropouts(events_per_item: float) -> dict[str, float]:
    """Of GRU4Rec's items (``input_dropout``) and states, and of SASRec's layers.

    MovieLens 100k (58 events an item), validation NDCG@10, 1 seed: GRU4Rec .1340 with 0.2 of its
    items and .1529 with 0.5, SASRec .1357 with 0.3 and .1470 with 0.5. Amazon Beauty (13), both
    by dot: GRU4Rec's items .0526 with 0.2, .0583 with 0.5; SASRec .0638 with 0.3, .0654 with 0.5.
    """
    return {
        "dropout": dropout_share(events_per_item, least=0.3),
        "input_dropout": dropout_share(events_per_item, least=0.2),
    }


def mlp_dropouts(events_per_item: float) -> dict[str, float]:
    """Of what the user MLP of the other models reads.

    YoutubeDNN, width 128, test NDCG@10, 1 seed: Amazon Beauty (13 events an item) .0581 without,
    .0610 with 0.5; MovieLens 100k (58) .1223, .1213 with 0.3 and .1239 with 0.5, on validation
    .1246, .1337 and .1378. MovieLens 1M (289): .1941 with 0.1 and .1903 with 0.3.
    """
    return {"input_dropout": dropout_share(events_per_item)}

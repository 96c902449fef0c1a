"""What is measured of a ranking, at a cut-off each. No torch here: the shell reads this first."""

from __future__ import annotations

METRICS = ("recall", "hr", "ndcg", "mrr", "precision", "coverage")
"""See metrics.compute_metrics."""

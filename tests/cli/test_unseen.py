"""Users and items that training never saw, from a table on disk to what the run says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.process import rechub

TABLE = ("data=table", "data.path=log.csv", "data.columns.split=part", "data.split.method=given")
SMALL = (
    "trainer.n_epoch=1",
    "trainer.threads=1",
    "export=none",
    "evaluation.top_k=[8]",
    "trainer.monitor=ndcg@8",
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Ten users of items a to f; then one of one event, one of none, one of none and no features;
    one test item has features only, one has nothing."""
    rows = [f"u{n},{i},train" for n in range(10) for i in "abcdef"[: 3 + n % 4]]
    rows += [f"u{n},f,valid" for n in range(10) if n % 4 < 3]
    rows += ["one,a,train", "one,cold,test", "none,b,test", "stranger,blank,test"]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,part", *rows]) + "\n")
    kinds = [f"{item},{kind}" for item, kind in zip("abcdef", "xxyyxy", strict=True)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,kind", *kinds, "cold,y"]) + "\n")
    towns = [f"u{n},t{n % 2}" for n in range(10)]
    (tmp_path / "users.csv").write_text("\n".join(["user_id,town", *towns, "none,t0"]) + "\n")
    return tmp_path


def test_the_run_says_who_was_ranked_by_what(shop: Path) -> None:
    side = ("data.items.path=items.csv", "data.users.path=users.csv")
    done = rechub("train", "model=dssm", *TABLE, *side, *SMALL, cwd=shop)
    assert (
        "2 of 3 test queries have no known item before them: 1 are ranked by user features, "
        "1 by popularity"
    ) in done.stdout
    (run,) = shop.glob("runs/table-dssm/*")
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["queries"] == {
        "test": {
            "queries": 3,
            "empty_history": 2,
            "ranked_by_features": 1,
            "ranked_by_popularity": 1,
        },
        "valid": {
            "queries": 8,
            "empty_history": 0,
            "ranked_by_features": 0,
            "ranked_by_popularity": 0,
        },
    }
    # All 7 items with features fit into 8 places; the one without is a miss.
    assert metrics["test"]["recall@8"] == pytest.approx(2 / 3)
    done = rechub("evaluate", f"run={run}", "by=[popularity,history_length]", cwd=shop)
    (file,) = (run / "evaluations").glob("*.json")
    by = json.loads(file.read_text())["by"]
    cold, known = by["popularity"]
    assert (cold["bucket"], cold["count"], cold["recall@8"]) == ("0", 2, 0.5)
    assert (known["count"], known["recall@8"]) == (1, 1)
    assert [(row["bucket"], row["count"]) for row in by["history_length"]] == [("0", 2), ("1", 1)]
    assert "1 by popularity" in done.stdout

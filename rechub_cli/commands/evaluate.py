"""``rechub evaluate``: rank a finished run again under another protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from rechub_cli.commands.printout import print_files, print_notes
from rechub_cli.commands.tables import (
    plain_table,
    print_interests,
    print_queries,
    print_rows,
    shown_cut_off,
    shown_metrics,
)
from rechub_cli.config.schema import EvaluateConfig
from rechub_cli.data.dataset import MatchData
from rechub_cli.evaluation.compare import baseline_metrics
from rechub_cli.evaluation.diversity import diversity_curve, item_categories
from rechub_cli.evaluation.interests import collapsed_interests, interest_report
from rechub_cli.evaluation.model_scores import evaluate_model, model_scorer
from rechub_cli.evaluation.slices import metrics_by
from rechub_cli.evaluation.unseen import query_counts
from rechub_cli.fingerprint import protocol, text_hash
from rechub_cli.progress import result_console
from rechub_cli.run_warning import RunWarning
from rechub_cli.runs import Run, load_run, write_json

CANDIDATES_A_PLACE = 10


def run(config: EvaluateConfig) -> None:
    """Rank, print beside both baselines, and write ``evaluations/<protocol hash>.json``."""
    done = load_run(
        config.run,
        data_path=config.data.path,
        items_path=config.data.items.path,
        users_path=config.data.users.path,
    )
    torch.set_num_threads(done.config.trainer.threads)
    top_k = config.top_k or done.config.evaluation.top_k
    mask = done.config.evaluation.mask_seen if config.mask_seen is None else config.mask_seen
    how = protocol(
        done.config,
        done.data,
        top_k=top_k,
        mask_seen=mask,
        candidates=config.candidates,
        queries=config.split,
        **_asked(config),
    )
    found = {"protocol": how, **measure(config, done, top_k=top_k, mask_seen=mask)}
    if done.notes:
        found["notes"] = list(done.notes)
    path = Path(config.run) / "evaluations" / f"{text_hash(how)[:16]}.json"
    write_json(path, found)
    console = result_console()
    print_notes(console, done.notes)
    print_result(console, config, done, found, top_k=top_k)
    print_files(console, [path])


def measure(
    config: EvaluateConfig, done: Run, *, top_k: Sequence[int], mask_seen: bool
) -> dict[str, Any]:
    """Everything that was asked for; the metrics stand under the name of the split."""
    model, data, split = done.model, done.data, config.split
    wanted = config.diversity.category
    categories = None if wanted is None else item_categories(data, wanted)  # refused first
    allowed = candidates(data, config.candidates)
    metrics, ranking = evaluate_model(
        model, data, split=split, top_k=top_k, mask_seen=mask_seen, candidates=allowed
    )
    out: dict[str, Any] = {split: metrics, "queries": query_counts(data, split)}
    out["baselines"] = baseline_metrics(
        data, top_k=top_k, mask_seen=mask_seen, splits=(split,), candidates=allowed
    )
    interests = interest_report(model, data, ranking, split=split, k=shown_cut_off(top_k))
    if interests is not None:
        out["interests"] = interests
        out["warnings"] = [asdict(w) for w in filter(None, [collapsed_interests(interests)])]
    if config.by:
        out["by"] = {
            name: metrics_by(name, ranking, data, data.queries(split), top_k=top_k)
            for name in config.by
        }
    if categories is not None:
        out["diversity"] = diversity_curve(
            model_scorer(model, data, data.queries(split)),
            data,
            split=split,
            categories=categories,
            factors=config.diversity.factors,
            num_candidates=config.diversity.num_candidates or CANDIDATES_A_PLACE * max(top_k),
            top_k=top_k,
            mask_seen=mask_seen,
            candidates=allowed,
        )
    return out


def candidates(data: MatchData, which: str) -> Tensor:
    """bool [I]: all that may be ranked, or those with training rows only."""
    if which == "all":
        return data.candidates
    trained = torch.zeros_like(data.candidates)
    trained[data.trained_items] = True
    return trained


def print_result(
    console: Console,
    config: EvaluateConfig,
    done: Run,
    found: dict[str, Any],
    *,
    top_k: Sequence[int],
) -> None:
    """The table of model, floor and reference, then whatever else was asked for."""
    split = config.split
    rules, floor = (found["baselines"][n][split] for n in ("sequential_rules", "popularity"))
    table = plain_table(
        f"{split}, full ranking", "", done.config.model.name, "popularity", "sequential rules"
    )
    for key, value in found[split].items():
        table.add_row(key, f"{value:.4f}", f"{floor[key]:.4f}", f"{rules[key]:.4f}")
    console.print(table)
    print_queries(console, split, found["queries"])
    if "interests" in found:
        print_interests(console, split, found["interests"])
        for warning in found["warnings"]:
            console.print(str(RunWarning(**warning)))
    for name, rows in found.get("by", {}).items():
        title = f"{split}, by {name.replace('_', ' ')}"
        print_rows(console, title, rows, ["bucket", "count", *shown_metrics(top_k)])
    if "diversity" in found:
        k = shown_cut_off(top_k)
        print_rows(
            console,
            f"{split}, lists made anew by {config.diversity.category}",
            found["diversity"],
            ["factor", f"recall@{k}", f"ndcg@{k}", f"diversity@{k}"],
        )


def _asked(config: EvaluateConfig) -> dict[str, Any]:
    """What the file holds beside the metrics, so that another question gets another file."""
    asked: dict[str, Any] = {"by": config.by} if config.by else {}
    if config.diversity.category is not None:
        asked["diversity"] = config.diversity.model_dump()
    return asked

"""``rechub evaluate``: rank a finished run again under another protocol."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.table import Table

from rechub_cli.config.schema import EvaluateConfig
from rechub_cli.evaluation.compare import baseline_metrics
from rechub_cli.evaluation.model_scores import evaluate_model
from rechub_cli.progress import result_console
from rechub_cli.runs import load_run, protocol, text_hash, write_json


def run(config: EvaluateConfig) -> None:
    """Rank, print beside both baselines, and write ``evaluations/<protocol hash>.json``."""
    done = load_run(config.run, data_path=config.data["path"])
    torch.set_num_threads(done.config.trainer.threads)
    data = done.data
    top_k = config.top_k or done.config.evaluation.top_k
    mask = done.config.evaluation.mask_seen if config.mask_seen is None else config.mask_seen
    candidates = data.candidates
    if config.candidates == "trained":
        candidates = torch.zeros_like(candidates)
        candidates[data.trained_items] = True
    metrics, _ = evaluate_model(
        done.model,
        data,
        split=config.split,
        top_k=top_k,
        mask_seen=mask,
        candidates=candidates,
    )
    baselines = baseline_metrics(
        data, top_k=top_k, mask_seen=mask, splits=(config.split,), candidates=candidates
    )
    how = protocol(
        done.config,
        data,
        top_k=top_k,
        mask_seen=mask,
        candidates=config.candidates,
        queries=config.split,
    )
    path = Path(config.run) / "evaluations" / f"{text_hash(how)[:16]}.json"
    write_json(path, {"protocol": how, config.split: metrics, "baselines": baselines})
    table = Table(title=f"{config.split}, full ranking", box=None, title_justify="left")
    for name in ("", done.config.model.name, "popularity", "sequential rules"):
        table.add_column(name, justify="right" if name else "left")
    for key, value in metrics.items():
        floor, rules = (baselines[n][config.split][key] for n in ("popularity", "sequential_rules"))
        table.add_row(key, f"{value:.4f}", f"{floor:.4f}", f"{rules:.4f}")
    console = result_console()
    console.print(table)
    console.print(f"wrote {path}")

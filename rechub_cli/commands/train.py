"""``rechub train``: the story of a run, from config to files."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rechub_cli.commands.choices import choices, print_choices
from rechub_cli.commands.printout import print_data, print_files, print_ranking, print_result
from rechub_cli.commands.tables import shown_cut_off
from rechub_cli.config.schema import RunConfig, TowersExport
from rechub_cli.cost.memory import peak_bytes
from rechub_cli.data.dataset import HELD_OUT, MatchData
from rechub_cli.data.demo import DemoWorld
from rechub_cli.errors import GateError, RechubError
from rechub_cli.evaluation.compare import baseline_metrics, rank_scorer
from rechub_cli.evaluation.interests import collapsed_interests, interest_report
from rechub_cli.evaluation.model_scores import evaluate_model
from rechub_cli.evaluation.slices import SLICES, metrics_by
from rechub_cli.evaluation.unseen import query_counts, target_shares
from rechub_cli.export.bundle import export_towers
from rechub_cli.fingerprint import fingerprint, protocol
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.progress import ConsoleReporter, result_console
from rechub_cli.recipes import Verdict, judge
from rechub_cli.run_warning import RunWarning
from rechub_cli.runs import (
    EPOCHS,
    MANIFEST,
    METRICS,
    discard_run,
    load_data,
    make_model,
    start_run,
    write_json,
)
from rechub_cli.trainers.device import keep_freed_memory, pick_device
from rechub_cli.trainers.match_trainer import MatchTrainer
from rechub_cli.trainers.options import LossOptions, NegativeOptions, StepOptions
from rechub_cli.trainers.reporter import EpochResult, Reporter
from rechub_cli.trainers.sanity import below_floor


def run(
    config: RunConfig,
    run_dir: Path,
    *,
    overrides: Sequence[str] = (),
    recipe: Path | None = None,
) -> None:
    """Train, rank beside both baselines, write the run directory, and export.

    recipe: the YAML file of the recipe that the config came from, to hold the figures against.
    """
    started = time.perf_counter()
    console = result_console()
    step = StepOptions(config.trainer.precision, config.trainer.compile)
    device = pick_device(config.trainer.device, step)  # or refused, before anything is read
    torch.set_num_threads(config.trainer.threads)
    data, world = load_data(config)
    model = make_model(config, data)
    chosen = choices(data, model, config.trainer, device)
    start_run(run_dir, config, overrides)
    print_data(console, data, mask_seen=config.evaluation.mask_seen)
    print_choices(console, data, config.trainer, chosen)
    trainer, epochs = fit(config, model, data, run_dir)
    seconds = time.perf_counter() - started
    print_ranking(console, data)
    metrics = measure(config, trainer, data, world)
    write_json(run_dir / METRICS, metrics)
    verdict = (
        None if recipe is None else judge(recipe, config, data.about.identity, metrics["test"])
    )
    warnings = find_warnings(config, trainer, data, metrics, verdict)
    manifest = {
        **describe_run(config, data),
        "fingerprint": fingerprint(config, data),
        "recipe": None if verdict is None else asdict(verdict),
        "parity": None,
        "chosen": chosen,
        "sanity": trainer.figures | target_shares(data),
        "warnings": [asdict(warning) for warning in warnings],
        "measured": {"epochs": len(epochs), "train_seconds": round(seconds, 2), **usage(started)},
    }
    write_json(run_dir / MANIFEST, manifest)  # finished, whatever becomes of the export
    files = [run_dir / METRICS, run_dir / "checkpoints" / "best", run_dir / MANIFEST]
    print_result(console, config, metrics, files, warnings)
    if verdict is not None and not verdict.shortfall():
        console.print(str(verdict))
    manifest["parity"], towers = export(
        config, model, data, run_dir / "export", marks=manifest["fingerprint"]
    )
    manifest["measured"] |= usage(started)
    write_json(run_dir / MANIFEST, manifest)
    print_files(console, towers)


def export(
    config: RunConfig, model: MatchingModel, data: MatchData, folder: Path, *, marks: dict[str, Any]
) -> tuple[dict[str, Any] | None, list[Path]]:
    """Write and prove the towers, where the config wants any: their parity and files."""
    if not isinstance(config.export, TowersExport):
        return None, []
    result_console().print("writing the towers, and holding them against the model")
    tolerance, min_overlap = config.export.tolerance, config.export.min_overlap
    try:
        return export_towers(
            model, data, folder, marks=marks, tolerance=tolerance, min_overlap=min_overlap
        )
    except GateError as error:
        again = f"rechub export {shlex.quote(f'run={folder.parent}')}"
        raise GateError(
            f"{error}. All else of the run is finished; `{again}` writes them with another "
            "tolerance or min_overlap"
        ) from None


def describe_run(config: RunConfig, data: MatchData) -> dict[str, Any]:
    """What was measured on which data, with which features."""
    identity = data.about.identity
    return {
        "protocol": protocol(config, data),
        "interactions": None if identity is None else asdict(identity),
        "features": data.encoded.schema.to_json(),
    }


def fit(
    config: RunConfig, model: MatchingModel, data: MatchData, run_dir: Path
) -> tuple[MatchTrainer, list[EpochResult]]:
    """Train with the config's loop; best and last checkpoints go into the run directory."""
    reporter = ConsoleReporter(run_dir / EPOCHS)
    trainer = make_trainer(config, model, run_dir=run_dir, reporter=reporter)
    try:
        return trainer, trainer.fit(data)
    except RechubError:
        if not trainer.history:
            discard_run(run_dir)
        raise
    finally:
        reporter.close()


def make_trainer(
    config: RunConfig, model: MatchingModel, *, run_dir: Path | None, reporter: Reporter
) -> MatchTrainer:
    """The config's training loop. run_dir: where checkpoints go; None writes none."""
    options = config.trainer
    keep_freed_memory()  # from here on, so that what reading the data took went back
    return MatchTrainer(
        model,
        options.mode,
        options.optimizer_params.model_dump(),
        options.n_epoch,
        loss=LossOptions(options.loss, **options.model_dump(include={"gbce_t", "bpreg"})),
        negatives=NegativeOptions(**options.negatives.model_dump()),
        batch_size=options.batch_size,
        samples=options.samples,
        patience=options.patience,
        monitor=options.monitor,
        valid_queries=options.valid_queries,
        top_k=config.evaluation.top_k,
        mask_seen=config.evaluation.mask_seen,
        schedule=options.schedule.name,
        warmup_steps=options.schedule.warmup_steps,
        clip_norm=options.clip_norm,
        accumulate=options.accumulate,
        device=options.device,
        precision=options.precision,
        compile=options.compile,
        threads=options.threads,
        seed=config.seed,
        run_dir=run_dir,
        reporter=reporter,
    )


def measure(
    config: RunConfig, trainer: MatchTrainer, data: MatchData, world: DemoWorld | None
) -> dict[str, Any]:
    """Metrics of the model and of what it is printed beside, valid and test."""
    top_k, mask = config.evaluation.top_k, config.evaluation.mask_seen
    model = trainer.model
    valid, _ = evaluate_model(model, data, split="valid", top_k=top_k, mask_seen=mask)
    test, ranking = evaluate_model(model, data, split="test", top_k=top_k, mask_seen=mask)
    metrics: dict[str, Any] = {"valid": valid, "test": test}
    metrics["queries"] = {split: query_counts(data, split) for split in HELD_OUT}
    queries = data.queries("test")
    metrics["by"] = {name: metrics_by(name, ranking, data, queries, top_k=top_k) for name in SLICES}
    interests = interest_report(model, data, ranking, split="test", k=shown_cut_off(top_k))
    if interests is not None:
        metrics["interests"] = interests
    metrics["baselines"] = baseline_metrics(data, top_k=top_k, mask_seen=mask)
    if world is not None:
        ids = data.catalogue.ids.to_pylist()
        metrics["oracle"] = {
            split: rank_scorer(
                world.oracle(ids, data.interactions, data.queries(split)),
                data,
                split=split,
                top_k=top_k,
                mask_seen=mask,
            )[0]
            for split in HELD_OUT
        }
    return metrics


def find_warnings(
    config: RunConfig,
    trainer: MatchTrainer,
    data: MatchData,
    metrics: dict[str, Any],
    verdict: Verdict | None,
) -> list[RunWarning]:
    """What training warned of, and what the final metrics say."""
    floor = below_floor(
        metrics["test"],
        metrics["baselines"]["popularity"]["test"],
        metric=config.trainer.monitor,
        queries=len(data.split.test),
    )
    interests = metrics.get("interests")
    collapse = None if interests is None else collapsed_interests(interests)
    shortfall = None if verdict is None else verdict.shortfall()
    return [*trainer.warnings, *filter(None, [floor, collapse, shortfall])]


def usage(started: float) -> dict[str, Any]:
    """What the process has taken so far. started: of time.perf_counter."""
    seconds = round(time.perf_counter() - started, 2)
    return {"total_seconds": seconds, "peak_memory_mib": peak_bytes() >> 20}

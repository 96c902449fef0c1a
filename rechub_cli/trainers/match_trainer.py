"""The training loop: short, ours, the same from the shell and from Python."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch

from rechub_cli.checks import check, check_kind
from rechub_cli.data.dataset import MatchData
from rechub_cli.data.encoded import Encoded
from rechub_cli.evaluation.metrics import check_measured
from rechub_cli.evaluation.model_scores import evaluate_model
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.run_warning import RunWarning
from rechub_cli.trainers.checkpoint import check_unused, load_tensors, model_tensors, save_epoch
from rechub_cli.trainers.course import Course, best_so_far
from rechub_cli.trainers.device import check_fp32, choose_matmul, pick_device
from rechub_cli.trainers.loading import check_own_batches, check_read_alike, check_samples
from rechub_cli.trainers.options import (
    DEFAULT_LOSS,
    DEFAULT_NEGATIVES,
    LossOptions,
    NegativeOptions,
    StepOptions,
    check_together,
    choose_optimizer,
    most_validated,
    parse_mode,
)
from rechub_cli.trainers.reporter import EpochResult, Reporter
from rechub_cli.trainers.rules import clip_rule, lazy_sampler_rule, loop_rules, top_k_rule
from rechub_cli.trainers.steps import Steps, catalogue_steps, row_steps
from rechub_cli.trainers.towers import Towers
from rechub_cli.trainers.updates import Updates, build_updates
from rechub_cli.trainers.watch import Watch, check_finite


class MatchTrainer:
    """Trains a matching model and keeps the best epoch.

    model: a MatchingModel. mode: 0 or pointwise, 1 or pairwise, 2 or listwise.
    optimizer_params: ``{"name", "lr", "weight_decay"}``, see choose_optimizer. n_epoch: >= 1.
    loss: LossOptions; None: bce, bpr or softmax, by the mode.
    negatives: NegativeOptions, batch_size: see batch_rows, and samples: auto, windows or prefixes,
        see training_samples, all for data of ``load_interactions``.
    monitor: the validation metric that picks the best epoch, e.g. ndcg@10. top_k: its cut-offs.
    valid_queries: most queries for that, spread over all of them; None: 50,000.
    patience: epochs without a better monitor before the end; None: never stop early. mask_seen:
        serving leaves seen items out: so do validation and listwise (NegativeOptions.exclude).
    schedule, warmup_steps: see build_updates. clip_norm: largest gradient norm. accumulate:
        batches a step. device: auto, cpu or cuda. precision, compile: see StepOptions. threads:
        CPU threads; None leaves torch's. seed: of batches, negatives and dropout.
    run_dir: where checkpoints go, no others there (load_run reads runs of ``rechub train``); None
        keeps the best epoch in memory only.
    """

    def __init__(
        self,
        model: MatchingModel,
        mode: int | str = 0,
        optimizer_params: Mapping[str, Any] | None = None,
        n_epoch: int = 10,
        *,
        loss: LossOptions | None = None,
        negatives: NegativeOptions | None = None,
        batch_size: int | None = None,
        samples: str = "auto",
        patience: int | None = 5,
        monitor: str = "ndcg@10",
        valid_queries: int | None = None,
        top_k: Sequence[int] = (5, 10, 20, 50),
        mask_seen: bool = True,
        schedule: str = "auto",
        warmup_steps: int = 0,
        clip_norm: float | None = None,
        accumulate: int = 1,
        device: str = "auto",
        precision: str = "fp32",
        compile: bool = False,
        threads: int | None = None,
        seed: int = 0,
        run_dir: Path | str | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        check_kind("model", model, MatchingModel, "a MatchingModel, e.g. MIND(...) or build_model")
        check_kind("optimizer_params", optimizer_params or {}, Mapping, "a dict with lr")
        self.mode, self.step_options = parse_mode(mode), StepOptions(precision, compile)
        self.n_epoch, self.batch_size, self.samples = n_epoch, batch_size, samples
        self.patience, self.monitor, self.top_k = patience, monitor, top_k
        self.schedule, self.warmup_steps, self.threads = schedule, warmup_steps, threads
        self.clip_norm, self.accumulate, self.seed = clip_norm, accumulate, seed
        self.mask_seen, self.valid_queries, self.negatives = mask_seen, valid_queries, negatives
        self.optimizer_params = dict(optimizer_params or {"lr": 1e-3})
        self.optimizer = str(self.optimizer_params.get("name", "auto"))
        check(self, *loop_rules(vars(self)), clip_rule(self.optimizer, clip_norm))
        self.top_k = tuple(top_k)
        check_measured(monitor, self.top_k)
        check_samples(model, samples)
        check_fp32(model)
        self.loss = loss or DEFAULT_LOSS[self.mode]
        self.negative_options = negatives or DEFAULT_NEGATIVES[self.mode]
        check_together(self.mode, self.loss, self.negative_options)
        if threads is not None:
            torch.set_num_threads(threads)
        choose_matmul()
        self.device = pick_device(device, self.step_options)
        self.model = model.to(self.device)
        self.checkpoints = None if run_dir is None else Path(run_dir) / "checkpoints"
        check_unused(self.checkpoints)
        self.reporter = reporter or Reporter()
        self.history: list[EpochResult] = []
        self.warnings: list[RunWarning] = []
        self.figures: dict[str, Any] = {}
        self.trained: Encoded | None = None

    def fit(
        self, train: MatchData | Iterable[Any], valid: MatchData | None = None
    ) -> list[EpochResult]:
        """Train, and leave the model at its best epoch.

        Each call is a training of its own, from the weights as they are: optimizer, schedule,
        epochs and the best of them start anew.

        train: data of ``load_interactions``, or any iterable of ``(features dict, label)`` that can
            be read anew each epoch; without a length (len) the schedule is constant.
        valid: data whose validation queries pick the best epoch; None: those of ``train`` where
            it is such data, else the last epoch is the best.

        Returns one EpochResult an epoch, also in ``history``; what was wrong is in ``warnings``,
        and what was measured for it in ``figures``. Raises GateError on a loss that is not finite.
        """
        valid = train if valid is None and isinstance(train, MatchData) else valid
        check_kind("valid", valid, MatchData | None, "data of load_interactions")
        self.trained = train.encoded if isinstance(train, MatchData) else None
        if valid is not None:
            check_read_alike(self.trained, valid)
            valid = valid.with_fewer_queries(most_validated(self.valid_queries))
        steps = self._steps(train)
        watch = Watch(self.model, steps.probe, self.reporter, fresh=not self.history)
        self.warnings, self.history, self.figures = watch.warnings, [], {}
        updates = self._updates(train, steps, watch)
        torch.manual_seed(self.seed)  # dropout
        self.reporter.start(n_epoch=self.n_epoch, steps=steps.length, monitor=self.monitor)
        best_tensors = model_tensors(self.model)
        course = Course(self.n_epoch, self.patience, self.monitor, updates.schedule)
        for epoch in count(1):
            result = self._epoch(epoch, steps, watch, updates, valid)
            self.history.append(result)
            if result.best_epoch in (epoch, None):
                best_tensors = model_tensors(self.model)
                save_epoch(self.checkpoints, "best", self.model, result)
            save_epoch(self.checkpoints, "last", self.model, result)
            self.reporter.epoch(result)
            if falling := course.falls(result):
                load_tensors(self.model, best_tensors)
                updates.anneal(falling)
                self.reporter.anneal(result.best_epoch or epoch, epochs=falling)
            elif course.ends(result):
                break
        self.figures = watch.stop()
        load_tensors(self.model, best_tensors)
        self.model.eval()
        self.reporter.stop(course.reason)
        return self.history

    def evaluate(
        self,
        data: MatchData,
        *,
        split: str = "test",
        top_k: Sequence[int] | None = None,
        mask_seen: bool | None = None,
    ) -> dict[str, float]:
        """Metrics under exact full ranking; see evaluate_model and check_read_alike."""
        check_read_alike(self.trained, data)
        mask = self.mask_seen if mask_seen is None else mask_seen
        top_k = self.top_k if top_k is None else top_k
        check({"top_k": top_k}, top_k_rule(top_k))
        return evaluate_model(self.model, data, split=split, top_k=top_k, mask_seen=mask)[0]

    def export_onnx(self, path: Path | str, mode: str) -> None:
        """Write one tower. mode: user or item. See export.onnx for the inputs of the file."""
        from rechub_cli.export.onnx import export_tower  # noqa: PLC0415 - seconds to import

        export_tower(self.model, Path(path), tower=mode)

    def _epoch(
        self, epoch: int, steps: Steps, watch: Watch, updates: Updates, valid: MatchData | None
    ) -> EpochResult:
        start, rows = time.perf_counter(), 0
        self.model.train()
        for step, (loss, size) in enumerate(steps.losses(epoch), start=1):
            value = loss.item()
            check_finite(value, epoch=epoch, step=step, checkpoints=self.checkpoints)
            updates.add(loss)
            watch.loss(value)
            updates.step()
            rows += size
            self.reporter.step(epoch=epoch, step=step, loss=value, rows=rows)
        updates.step(rest=True)
        seconds = time.perf_counter() - start
        mean, norms = watch.epoch()
        metrics = {} if valid is None else self.evaluate(valid, split="valid")
        best, best_epoch = best_so_far(metrics.get(self.monitor), epoch, self.history)
        return EpochResult(epoch, mean, rows / seconds, seconds, metrics, best, best_epoch, norms)

    def _updates(self, train: MatchData | Iterable[Any], steps: Steps, watch: Watch) -> Updates:
        optimizer_params = choose_optimizer(
            self.optimizer_params,
            self.negative_options,
            num_items=len(train.trained_items) if isinstance(train, MatchData) else 0,
            clip_norm=self.clip_norm,
            on_cpu=self.device.type == "cpu",
        )
        return build_updates(
            self.model,
            optimizer_params,
            watch.gradients,
            steps,
            n_epoch=self.n_epoch,
            schedule=self.schedule,
            warmup_steps=self.warmup_steps,
            clip_norm=self.clip_norm,
            accumulate=self.accumulate,
        )

    def _steps(self, train: MatchData | Iterable[Any]) -> Steps:
        towers = Towers(self.model, self.step_options)
        if not isinstance(train, MatchData):
            check_own_batches(self.negatives, self.batch_size, self.samples)
            return row_steps(train, towers, mode=self.mode, loss=self.loss, device=self.device)
        check(
            self.negative_options, lazy_sampler_rule(self.optimizer, self.negative_options.sampler)
        )
        return catalogue_steps(
            train,
            towers,
            loss=self.loss,
            negatives=self.negative_options,
            batch_size=self.batch_size,
            samples=self.samples,
            device=self.device,
            seed=self.seed,
            mask_seen=self.mask_seen,
        )

"""The group ``trainer``: the training mode with its loss, negatives and loop."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from rechub_cli.config.node import Count, Node, Positive, refuse
from rechub_cli.trainers.rules import (
    MAX_THREADS,
    WHOLE,
    WHOLE_ELSEWHERE,
    anneal_rule,
    clip_rule,
    compile_rule,
    decay_rule,
    lazy_sampler_rule,
    loss_rule,
    loss_rules,
    sampler_rule,
    sampler_rules,
)


class OptimizerParams(Node):
    name: Literal["auto", "adam", "adamw", "adagrad", "sgd", "lazy_adam", "rowwise_adagrad"]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _no_lazy_decay(self) -> OptimizerParams:
        refuse(decay_rule(self.name, self.weight_decay))
        return self


class ScheduleConfig(Node):
    name: Literal["auto", "constant", "linear", "cosine", "anneal"]
    warmup_steps: Count


class PairNegatives(Node):
    """Negatives of the point-wise and pair-wise modes. whole: may they be the whole catalogue?"""

    whole: ClassVar[bool] = False
    sampler: Literal["auto", "full", "uniform", "popularity", "in_batch", "mixed", "hard"]
    num_negatives: Positive | None
    alpha: Annotated[float, Field(ge=0)] | None
    pool_size: Positive | None

    @model_validator(mode="after")
    def _no_idle_option(self) -> PairNegatives:
        if self.sampler in WHOLE and not self.whole:
            refuse((True, WHOLE_ELSEWHERE))
        refuse(*sampler_rules(**self.model_dump()))
        return self


class ListNegatives(PairNegatives):
    whole: ClassVar[bool] = True
    logq: Literal["none", "negatives", "both", "weighted"] | None
    exclude: Literal["auto", "none", "seen", "known"]


class TrainerConfig(Node):
    batch_size: Positive | None
    samples: Literal["auto", "windows", "prefixes"]
    n_epoch: Positive
    patience: Positive | None
    monitor: str
    valid_queries: Positive | None
    optimizer_params: OptimizerParams
    schedule: ScheduleConfig
    clip_norm: Annotated[float, Field(gt=0)] | None
    accumulate: Positive
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["fp32", "bf16"]
    compile: bool
    threads: Annotated[int, Field(ge=1, le=MAX_THREADS)]

    @field_validator("schedule")
    @classmethod
    def _epochs_before_annealing(
        cls, schedule: ScheduleConfig, info: ValidationInfo
    ) -> ScheduleConfig:
        if "n_epoch" in info.data:
            refuse(anneal_rule(schedule.name, info.data["n_epoch"]))
        return schedule

    @field_validator("clip_norm")
    @classmethod
    def _no_lazy_clipping(cls, clip_norm: float | None, info: ValidationInfo) -> float | None:
        if "optimizer_params" in info.data:
            refuse(clip_rule(info.data["optimizer_params"].name, clip_norm))
        return clip_norm

    @field_validator("compile")
    @classmethod
    def _no_compiling_on_a_cpu(cls, compiled: bool, info: ValidationInfo) -> bool:
        refuse(compile_rule(compiled, str(info.data.get("device"))))
        return compiled

    @field_validator("loss", mode="before", check_fields=False)
    @classmethod
    def _loss_of_the_mode(cls, loss: object, info: ValidationInfo) -> object:
        refuse(loss_rule(info.data["mode"], str(loss)))
        return loss

    @field_validator("gbce_t", "bpreg", check_fields=False)
    @classmethod
    def _option_of_the_loss(cls, value: float | None, info: ValidationInfo) -> float | None:
        if "loss" in info.data:
            refuse(*loss_rules(info.data["loss"], **{str(info.field_name): value}))
        return value

    @field_validator("negatives", check_fields=False)
    @classmethod
    def _sampler_of_the_loss(cls, negatives: PairNegatives, info: ValidationInfo) -> PairNegatives:
        if "loss" in info.data:
            refuse(sampler_rule(info.data["mode"], info.data["loss"], negatives.sampler))
        if "optimizer_params" in info.data:
            refuse(lazy_sampler_rule(info.data["optimizer_params"].name, negatives.sampler))
        return negatives


class PointwiseTrainer(TrainerConfig):
    mode: Literal["pointwise"]
    loss: Literal["bce", "gbce"]
    gbce_t: Annotated[float, Field(ge=0, le=1)] | None
    negatives: PairNegatives


class PairwiseTrainer(TrainerConfig):
    mode: Literal["pairwise"]
    loss: Literal["bpr", "bpr_max"]
    bpreg: Annotated[float, Field(ge=0)] | None
    negatives: PairNegatives


class ListwiseTrainer(TrainerConfig):
    mode: Literal["listwise"]
    loss: Literal["softmax"]
    negatives: ListNegatives


TrainerUnion = Annotated[
    PointwiseTrainer | PairwiseTrainer | ListwiseTrainer, Field(discriminator="mode")
]

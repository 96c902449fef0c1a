"""The group ``trainer``: the training mode with its loss, negatives and loop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rechub_cli.config.node import Count, Node, Positive, refuse


class OptimizerParams(Node):
    name: Literal["adam", "adamw", "adagrad", "sgd"]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]


class ScheduleConfig(Node):
    name: Literal["constant", "linear", "cosine"]
    warmup_steps: Count


DRAWN = ("uniform", "popularity", "mixed")


class PairNegatives(Node):
    """Negatives of the point-wise and pair-wise modes."""

    sampler: Literal["uniform", "popularity", "in_batch", "mixed"]
    num_negatives: Positive | None
    alpha: Annotated[float, Field(ge=0)] | None

    @model_validator(mode="after")
    def _no_idle_option(self) -> PairNegatives:
        drawn = self.sampler in DRAWN
        refuse(
            (
                drawn and self.num_negatives is None,
                f"num_negatives|is needed with sampler={self.sampler}, e.g. 512",
            ),
            (
                not drawn and self.num_negatives is not None,
                f"num_negatives|is ignored by sampler={self.sampler}: set it to null, or use "
                f"sampler={' or '.join(DRAWN)}",
            ),
            (
                self.sampler != "popularity" and self.alpha is not None,
                f"alpha|is ignored by sampler={self.sampler}; it works with popularity",
            ),
        )
        return self


class ListNegatives(PairNegatives):
    sampler: Literal["full", "uniform", "popularity", "in_batch", "mixed"]  # type: ignore[assignment]
    logq: bool | None

    @model_validator(mode="after")
    def _logq_needs_sampling(self) -> ListNegatives:
        if self.sampler == "full" and self.logq is not None:
            raise ValueError("logq|is ignored by sampler=full, which samples nothing")
        return self


class TrainerConfig(Node):
    batch_size: Positive
    n_epoch: Positive
    patience: Positive | None
    monitor: str
    optimizer_params: OptimizerParams
    schedule: ScheduleConfig
    clip_norm: Annotated[float, Field(gt=0)] | None
    accumulate: Positive
    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=1, le=1024)]


class PointwiseTrainer(TrainerConfig):
    mode: Literal["pointwise"]
    loss: Literal["bce"]
    negatives: PairNegatives


class PairwiseTrainer(TrainerConfig):
    mode: Literal["pairwise"]
    loss: Literal["bpr"]
    negatives: PairNegatives


class ListwiseTrainer(TrainerConfig):
    mode: Literal["listwise"]
    loss: Literal["softmax"]
    negatives: ListNegatives


TrainerUnion = Annotated[
    PointwiseTrainer | PairwiseTrainer | ListwiseTrainer, Field(discriminator="mode")
]

"""The typed run config. Types and ranges stand here and in the files of the groups beside this
one; every default stands in conf/*.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rechub_cli.config.data_schema import DataConfig
from rechub_cli.config.model_schema import BuiltIn, CausalParams, ModelConfig
from rechub_cli.config.node import Node, Positive, refuse
from rechub_cli.config.trainer_schema import TrainerUnion
from rechub_cli.evaluation.names import METRICS
from rechub_cli.trainers.rules import MAX_SEED, MAX_TOP_K

CutOffs = Annotated[list[Annotated[int, Field(ge=1, le=MAX_TOP_K)]], Field(min_length=1)]


class FeaturesConfig(Node):
    name: Literal["auto"]
    user_id: bool
    exclude: list[str]
    types: dict[str, Literal["sparse", "dense", "multi"]] | None
    max_len: Annotated[int, Field(ge=1, le=10_000)]
    history_columns: Literal["auto"] | list[str]
    min_count: Positive
    oov_share: Annotated[float, Field(ge=0, lt=1)]
    pooling: Literal["mean", "sum"]


class TowersExport(Node):
    name: Literal["towers"]
    tolerance: Annotated[float, Field(gt=0)]
    min_overlap: Annotated[float, Field(ge=0, le=1)]


class NoExport(Node):
    name: Literal["none"]


class EvaluationConfig(Node):
    top_k: CutOffs
    mask_seen: bool


ExportConfig = Annotated[TowersExport | NoExport, Field(discriminator="name")]


class RunConfig(Node):
    """One run, whole: what `rechub train` resolves its groups into and saves as config.yaml."""

    data: DataConfig
    features: FeaturesConfig
    model: ModelConfig
    trainer: TrainerUnion
    export: ExportConfig
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    evaluation: EvaluationConfig

    @model_validator(mode="after")
    def _windows_of_a_causal_model(self) -> RunConfig:
        other = isinstance(self.model, BuiltIn) and not isinstance(self.model, CausalParams)
        refuse(
            (
                self.trainer.samples == "windows" and other,
                "trainer.samples|needs a causal model (gru4rec, sasrec), which has a vector at "
                "every position: use auto or prefixes",
            )
        )
        return self


def monitor_problem(values: Mapping[str, Any]) -> str | None:
    """What is wrong with trainer.monitor, which must be measured; on values not yet typed, so
    that it is found beside other problems."""
    trainer, evaluation = values.get("trainer"), values.get("evaluation")
    if not (isinstance(trainer, Mapping) and isinstance(evaluation, Mapping)):
        return None
    top_k, monitor = evaluation.get("top_k"), trainer.get("monitor")
    if not isinstance(top_k, list) or not isinstance(monitor, str):
        return None
    if monitor in [f"{metric}@{k}" for metric in METRICS for k in top_k]:
        return None
    return (
        f"is not measured; allowed: a metric of {', '.join(METRICS)} at a cut-off of "
        f"evaluation.top_k={top_k}, such as ndcg@{top_k[0] if top_k else 10}"
    )


class DiversityConfig(Node):
    """Lists made anew for different categories, and what that costs."""

    category: str | None
    factors: list[Annotated[float, Field(ge=0)]]
    num_candidates: Positive | None

    @model_validator(mode="after")
    def _no_idle_option(self) -> DiversityConfig:
        off, idle = self.category is None, "is ignored without diversity.category"
        refuse(
            (
                not off and not self.factors,
                "factors|is needed with diversity.category, e.g. [0, 0.1, 0.25, 0.5, 1]",
            ),
            (off and bool(self.factors), f"factors|{idle}"),
            (off and self.num_candidates is not None, f"num_candidates|{idle}"),
        )
        return self


class SidePlace(Node):
    path: str | None


class DataPlaces(Node):
    """Where the data of a run are now."""

    path: str | None
    items: SidePlace
    users: SidePlace


class EvaluateConfig(Node):
    """`rechub evaluate`: rank a finished run again."""

    run: str
    split: Literal["valid", "test"]
    top_k: CutOffs | None
    mask_seen: bool | None
    candidates: Literal["all", "trained"]
    by: list[Literal["history_length", "popularity"]]
    diversity: DiversityConfig
    data: DataPlaces


class ExportRunConfig(Node):
    """`rechub export`: write the towers of a finished run again."""

    run: str
    tolerance: Annotated[float, Field(gt=0)]
    min_overlap: Annotated[float, Field(ge=0, le=1)]
    data: DataPlaces

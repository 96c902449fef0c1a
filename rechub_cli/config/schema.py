"""The typed run config. Types and ranges stand here; every default stands in conf/*.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

METRICS = ("recall", "hr", "ndcg", "mrr", "precision", "coverage")
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class Node(BaseModel):
    """A node of the config: unknown keys and other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def refuse(*problems: tuple[bool, str]) -> None:
    """Raise one ValueError of all ``key|what is wrong`` texts whose condition holds."""
    texts = [text for wrong, text in problems if wrong]
    if texts:
        raise ValueError("\n".join(texts))


class SplitConfig(Node):
    method: Literal["leave_one_out", "time", "user", "given"]
    time: int | str | None
    valid_share: Share | None
    test_share: Share | None

    @model_validator(mode="after")
    def _no_idle_option(self) -> SplitConfig:
        needs = {"time": ("time",), "valid_share": ("time", "user"), "test_share": ("time", "user")}
        refuse(
            *(
                (
                    getattr(self, key) is not None and self.method not in methods,
                    f"{key}|is ignored by method={self.method}; it works with method="
                    f"{' or '.join(methods)}",
                )
                for key, methods in needs.items()
            ),
            (
                self.time is not None and self.test_share is not None,
                "test_share|is ignored beside a given time; set one of the two",
            ),
        )
        return self


class DemoSplit(Node):
    method: Literal["leave_one_out", "time", "user"]


class Filters(Node):
    min_user_events: Count
    min_item_events: Count
    duplicates: Literal["all", "first", "last"]


class DemoData(Node):
    name: Literal["demo"]
    seed: Count
    num_users: Annotated[int, Field(ge=50, le=200_000)]
    num_items: Annotated[int, Field(ge=40, le=20_000)]
    split: DemoSplit


class Ml100kData(Node):
    name: Literal["ml_100k"]
    path: str | None
    rating_threshold: float | None
    filters: Filters
    split: SplitConfig


class Columns(Node):
    user: str
    item: str
    timestamp: str | None
    rating: str | None
    weight: str | None
    split: str | None
    context: list[str]


class SideTableConfig(Node):
    path: str | None
    key: str | None

    @model_validator(mode="after")
    def _key_needs_path(self) -> SideTableConfig:
        if self.key is not None and self.path is None:
            raise ValueError("key|is ignored without a path; set the path of the table too")
        return self


class TableData(Node):
    name: Literal["table"]
    path: str
    format: Literal["auto", "csv", "tsv", "parquet", "sequences"]
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None
    header: bool
    column_names: list[str] | None
    columns: Columns
    items: SideTableConfig
    users: SideTableConfig
    rating_threshold: float | None
    filters: Filters
    split: SplitConfig

    @model_validator(mode="after")
    def _fits_together(self) -> TableData:
        given = self.split.method == "given"
        rating, threshold = self.columns.rating, self.rating_threshold
        refuse(
            (
                self.header and self.column_names is not None,
                "column_names|is ignored while header=true; set header=false",
            ),
            (
                not self.header and self.column_names is None,
                "column_names|is needed with header=false, e.g. [user_id, item_id]",
            ),
            (
                threshold is not None and rating is None,
                "rating_threshold|needs a rating: name it in columns.rating",
            ),
            (
                threshold is None and rating is not None,
                "columns.rating|only serves rating_threshold, which is null: set the threshold, "
                "or use columns.weight for weights",
            ),
            (
                given and self.columns.split is None,
                "columns.split|is needed with split.method=given",
            ),
            (
                not given and self.columns.split is not None,
                f"columns.split|is ignored by split.method={self.split.method}; "
                "it works with split.method=given",
            ),
            (
                self.format == "parquet" and (self.separator is not None or not self.header),
                "separator|and header are ignored by format=parquet",
            ),
            (
                self.format == "sequences" and bool(self.column_names or self.columns.context),
                "columns|format=sequences has no columns but user and items",
            ),
        )
        return self


class FeaturesConfig(Node):
    name: Literal["auto"]
    user_id: bool
    exclude: list[str]
    types: dict[str, Literal["sparse", "dense", "multi"]]
    max_len: Annotated[int, Field(ge=1, le=10_000)]
    history_columns: Literal["auto"] | list[str]
    min_count: Positive
    oov_share: Annotated[float, Field(ge=0, lt=1)]
    pooling: Literal["mean", "sum"]


class MlpConfig(Node):
    dims: Annotated[list[Positive], Field(min_length=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    activation: Literal["relu", "prelu", "gelu", "silu", "leaky_relu", "tanh", "sigmoid"]
    norm: Literal["none", "batch", "layer"]


Similarity = Literal["cosine", "dot"]
Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _same_width(dims: list[int], other: int, what: str) -> None:
    if dims[-1] != other:
        raise ValueError(f"user_params.dims|must end in the width of {what}, {other}")


class DssmParams(Node):
    name: Literal["dssm"]
    embed_dim: Positive
    temperature: Temperature
    similarity: Similarity
    pooling: Literal["mean", "recency"]
    user_params: MlpConfig
    item_params: MlpConfig

    @model_validator(mode="after")
    def _one_width(self) -> DssmParams:
        _same_width(self.user_params.dims, self.item_params.dims[-1], "item_params.dims")
        return self


class YoutubeDnnParams(Node):
    name: Literal["youtube_dnn"]
    embed_dim: Positive
    temperature: Temperature
    similarity: Similarity
    pooling: Literal["mean", "recency"]
    tied: bool
    user_params: MlpConfig

    @model_validator(mode="after")
    def _one_width(self) -> YoutubeDnnParams:
        _same_width(self.user_params.dims, self.embed_dim, "the item vectors (embed_dim)")
        return self


class InterestParams(Node):
    """What the multi-interest models have in common."""

    embed_dim: Positive
    temperature: Temperature
    similarity: Similarity
    interest_num: Annotated[int, Field(ge=1, le=64)]
    tied: bool
    user_params: MlpConfig

    @model_validator(mode="after")
    def _one_width(self) -> InterestParams:
        _same_width(self.user_params.dims, self.embed_dim, "the item vectors (embed_dim)")
        return self


Iterations = Annotated[int, Field(ge=1, le=20)]


class MindParams(InterestParams):
    name: Literal["mind"]
    routing_iterations: Iterations
    recency: bool
    label_attention: Annotated[float, Field(gt=0)] | None


class ComirecDrParams(InterestParams):
    name: Literal["comirec_dr"]
    routing_iterations: Iterations


class ComirecSaParams(InterestParams):
    name: Literal["comirec_sa"]
    hidden_dim: Positive


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


class TowersExport(Node):
    name: Literal["towers"]
    tolerance: Annotated[float, Field(gt=0)]
    min_overlap: Annotated[float, Field(ge=0, le=1)]


class NoExport(Node):
    name: Literal["none"]


class EvaluationConfig(Node):
    top_k: Annotated[list[Positive], Field(min_length=1)]
    mask_seen: bool


DataConfig = Annotated[DemoData | Ml100kData | TableData, Field(discriminator="name")]
ModelConfig = Annotated[
    DssmParams | YoutubeDnnParams | MindParams | ComirecDrParams | ComirecSaParams,
    Field(discriminator="name"),
]
TrainerUnion = Annotated[
    PointwiseTrainer | PairwiseTrainer | ListwiseTrainer, Field(discriminator="mode")
]
ExportConfig = Annotated[TowersExport | NoExport, Field(discriminator="name")]


class RunConfig(Node):
    """One run, whole: what `rechub train` resolves its groups into and saves as config.yaml."""

    data: DataConfig
    features: FeaturesConfig
    model: ModelConfig
    trainer: TrainerUnion
    export: ExportConfig
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    evaluation: EvaluationConfig


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


class EvaluateConfig(Node):
    """`rechub evaluate`: rank a finished run again."""

    run: str
    split: Literal["valid", "test"]
    top_k: Annotated[list[Positive], Field(min_length=1)] | None
    mask_seen: bool | None
    candidates: Literal["all", "trained"]
    data: dict[Literal["path"], str | None]


class ExportRunConfig(Node):
    """`rechub export`: write the towers of a finished run again."""

    run: str
    tolerance: Annotated[float, Field(gt=0)]
    min_overlap: Annotated[float, Field(ge=0, le=1)]
    data: dict[Literal["path"], str | None]

"""The group ``model``: one class a model, its name the YAML file's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Field, model_validator

from rechub_cli.checks import divides_rule
from rechub_cli.config.node import Node, Positive, refuse
from rechub_cli.models.rules import selection_rules
from rechub_cli.plugins import other_entries

Dropout = Annotated[float, Field(ge=0, lt=1)]


class MlpConfig(Node):
    dims: Annotated[list[Positive], Field(min_length=1)]
    dropout: Dropout
    activation: Literal["relu", "prelu", "gelu", "silu", "leaky_relu", "tanh", "sigmoid"]
    norm: Literal["none", "batch", "layer"]
    residual: bool


Similarity = Literal["cosine", "dot"]
Temperature = Annotated[float, Field(gt=0)]


def _same_width(dims: list[int], other: int, what: str) -> None:
    if dims[-1] != other:
        raise ValueError(f"user_params.dims|must end in the width of {what}, {other}")


class DssmParams(Node):
    name: Literal["dssm"]
    embed_dim: Positive
    temperature: Temperature
    similarity: Similarity
    pooling: Literal["mean", "recency"]
    input_dropout: Dropout | None
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
    input_dropout: Dropout | None
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
    selection: Literal["candidate", "target", "mixed"]
    label_attention: Annotated[float, Field(gt=0)] | None
    input_dropout: Dropout | None
    tied: bool
    user_params: MlpConfig

    @model_validator(mode="after")
    def _fits(self) -> InterestParams:
        _same_width(self.user_params.dims, self.embed_dim, "the item vectors (embed_dim)")
        refuse(*selection_rules(self.selection, self.label_attention))
        return self


Iterations = Annotated[int, Field(ge=1, le=20)]


class MindParams(InterestParams):
    name: Literal["mind"]
    routing_iterations: Iterations
    recency: bool
    agreement: Literal["cosine", "dot"]


class ComirecDrParams(InterestParams):
    name: Literal["comirec_dr"]
    routing_iterations: Iterations
    maps: Literal["interest", "position"]
    agreement: Literal["cosine", "dot"]


class ComirecSaParams(InterestParams):
    name: Literal["comirec_sa"]
    hidden_dim: Positive


class CausalParams(Node):
    """What the causal models have in common."""

    embed_dim: Positive
    temperature: Temperature
    similarity: Similarity
    hidden_dim: Positive
    dropout: Dropout | None
    tied: bool


class Gru4recParams(CausalParams):
    name: Literal["gru4rec"]
    num_layers: Annotated[int, Field(ge=1, le=16)]
    input_dropout: Dropout | None
    residual: bool


class SasrecParams(CausalParams):
    name: Literal["sasrec"]
    num_blocks: Annotated[int, Field(ge=1, le=64)]
    num_heads: Positive
    attention_dropout: Dropout
    positions: Literal["relative", "end"]

    @model_validator(mode="after")
    def _heads_fit(self) -> SasrecParams:
        refuse(divides_rule("num_heads", self.num_heads, self.embed_dim))
        return self


BuiltIn = (
    DssmParams
    | YoutubeDnnParams
    | MindParams
    | ComirecDrParams
    | ComirecSaParams
    | Gru4recParams
    | SasrecParams
)
if TYPE_CHECKING:
    ModelConfig = BuiltIn
else:
    ModelConfig = Annotated[
        Union[(BuiltIn, *(entry.settings for entry in other_entries()))],
        Field(discriminator="name"),
    ]


def hidden_widths(params: Node) -> set[int]:
    """Of a model's layers, those that do not follow the width of its vectors."""
    given = params.model_dump()
    towers = [given[key]["dims"] for key in ("user_params", "item_params") if key in given]
    return {*(n for dims in towers for n in dims[:-1]), *filter(None, [given.get("hidden_dim")])}

"""The group ``data``: sources, columns, filters, splits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rechub_cli.config.node import Count, Node, Share, refuse
from rechub_cli.data.split_rules import split_rules


class SplitConfig(Node):
    method: Literal["leave_one_out", "time", "user", "given"]
    time: int | str | None
    valid_share: Share | None
    test_share: Share | None

    @model_validator(mode="after")
    def _no_idle_option(self) -> SplitConfig:
        refuse(*split_rules(**self.model_dump()))
        return self


class TimedSplit(SplitConfig):
    """Of data without a column that gives the split."""

    method: Literal["leave_one_out", "time", "user"]


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
    split: TimedSplit


class OrderedSplit(Node):
    method: Literal["leave_one_out", "user"]
    valid_share: Share | None
    test_share: Share | None

    @model_validator(mode="after")
    def _no_idle_option(self) -> OrderedSplit:
        refuse(
            *(
                (
                    getattr(self, key) is not None and self.method != "user",
                    f"{key}|is ignored by method={self.method}; it works with method=user",
                )
                for key in ("valid_share", "test_share")
            )
        )
        return self


class OrderedData(Node):
    """A public set of each user's items in order, without times."""

    name: Literal["ml_1m", "amazon_beauty"]
    path: str | None
    filters: Filters
    split: OrderedSplit


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
    cache: bool | Annotated[str, Field(min_length=1)]
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
                self.format == "parquet" and self.separator is not None,
                "separator|is ignored by format=parquet",
            ),
            (
                self.format == "parquet" and not self.header,
                "header|is ignored by format=parquet, which names its columns itself",
            ),
            (
                self.format == "sequences" and bool(self.column_names or self.columns.context),
                "columns|format=sequences has no columns but user and items",
            ),
        )
        return self


DataConfig = Annotated[DemoData | Ml100kData | OrderedData | TableData, Field(discriminator="name")]

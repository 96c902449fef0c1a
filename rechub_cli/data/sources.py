"""From the ``data`` group of a config to RawData."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rechub_cli.data.amazon_beauty import read_amazon_beauty
from rechub_cli.data.demo import DemoWorld, make_demo
from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.ml_1m import read_ml_1m
from rechub_cli.data.ml_100k import read_ml_100k
from rechub_cli.data.raw import RawData
from rechub_cli.data.readers import ColumnNames, SideTable, read_table

if TYPE_CHECKING:
    from rechub_cli.config.data_schema import DataConfig, Filters, SideTableConfig, TableData


@dataclass(frozen=True)
class LoadedData:
    """raw: the tables. world: the demo's law, where the data are the demo's."""

    raw: RawData
    world: DemoWorld | None = None


def load_raw(config: DataConfig) -> LoadedData:
    """Make or read the source that ``data.name`` names. Raises DataError or ConfigError."""
    if config.name == "demo":
        world = make_demo(config.seed, config.num_users, config.num_items)
        return LoadedData(world.raw, world)
    if config.name == "ml_100k":
        raw = read_ml_100k(
            config.path,
            rating_threshold=config.rating_threshold,
            filters=_filters(config.filters),
        )
        return LoadedData(raw)
    if config.name == "table":
        return LoadedData(_table(config))
    read = read_ml_1m if config.name == "ml_1m" else read_amazon_beauty
    return LoadedData(read(config.path, filters=_filters(config.filters)))


def _table(config: TableData) -> RawData:
    names = config.columns
    return read_table(
        config.path,
        format=config.format,
        separator=config.separator,
        header=config.header,
        column_names=config.column_names,
        columns=ColumnNames(**{**names.model_dump(), "context": tuple(names.context)}),
        items=_side(config.items),
        users=_side(config.users),
        rating_threshold=config.rating_threshold,
        filters=_filters(config.filters),
    )


def _side(table: SideTableConfig) -> SideTable | None:
    return None if table.path is None else SideTable(table.path, table.key)


def _filters(filters: Filters) -> FilterOptions:
    return FilterOptions(filters.min_user_events, filters.min_item_events, filters.duplicates)

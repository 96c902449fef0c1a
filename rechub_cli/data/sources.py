"""From the ``data`` group of a config to RawData."""

from __future__ import annotations

from dataclasses import dataclass

from rechub_cli.config.schema import DataConfig, DemoData, Filters, Ml100kData, TableData
from rechub_cli.data.demo import DemoWorld, make_demo
from rechub_cli.data.files import TextOptions
from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.ml_100k import read_ml_100k
from rechub_cli.data.raw import RawData
from rechub_cli.data.readers import ColumnNames, SideTable, read_table


@dataclass(frozen=True)
class LoadedData:
    """raw: the tables. world: the demo's law, where the data are the demo's."""

    raw: RawData
    world: DemoWorld | None = None


def load_raw(config: DataConfig) -> LoadedData:
    """Read the source that ``data.name`` names."""
    if isinstance(config, DemoData):
        world = make_demo(config.seed, config.num_users, config.num_items)
        return LoadedData(world.raw, world)
    if isinstance(config, Ml100kData):
        return LoadedData(
            read_ml_100k(
                config.path,
                rating_threshold=config.rating_threshold,
                filters=_filters(config.filters),
            )
        )
    return LoadedData(_table(config))


def _table(config: TableData) -> RawData:
    names = config.columns
    return read_table(
        config.path,
        text=TextOptions(
            config.format,
            config.separator,
            config.header,
            None if config.column_names is None else tuple(config.column_names),
        ),
        columns=ColumnNames(**{**names.model_dump(), "context": tuple(names.context)}),
        items=SideTable(config.items.path, config.items.key),
        users=SideTable(config.users.path, config.users.key),
        rating_threshold=config.rating_threshold,
        filters=_filters(config.filters),
    )


def _filters(filters: Filters) -> FilterOptions:
    return FilterOptions(filters.min_user_events, filters.min_item_events, filters.duplicates)

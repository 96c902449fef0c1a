"""From the ``data`` group of a config to indexed tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rechub_cli.config.data_schema import DataConfig, Filters, SideTableConfig, TableData
from rechub_cli.data.amazon_beauty import read_amazon_beauty
from rechub_cli.data.cache import Source, through_cache
from rechub_cli.data.demo import DemoWorld, make_demo
from rechub_cli.data.download import cache_dir
from rechub_cli.data.files import find_files
from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.interactions import Indexed, index_raw
from rechub_cli.data.ml_1m import read_ml_1m
from rechub_cli.data.ml_100k import read_ml_100k
from rechub_cli.data.raw import RawData
from rechub_cli.data.readers import ColumnNames, SideTable, read_table


@dataclass(frozen=True)
class LoadedData:
    """world: the demo's law, where the data are the demo's."""

    tables: Indexed
    world: DemoWorld | None = None


def load_tables(config: DataConfig) -> LoadedData:
    """Make or read the source that ``data.name`` names, and index it.

    Raises DataError or ConfigError.
    """
    if config.name == "demo":
        world = make_demo(config.seed, config.num_users, config.num_items)
        return LoadedData(index_raw(world.raw), world)
    if config.name == "ml_100k":
        raw = read_ml_100k(
            config.path,
            rating_threshold=config.rating_threshold,
            filters=_filters(config.filters),
        )
        return LoadedData(index_raw(raw))
    if config.name == "table":
        return LoadedData(_cached_table(config))
    read = read_ml_1m if config.name == "ml_1m" else read_amazon_beauty
    return LoadedData(index_raw(read(config.path, filters=_filters(config.filters))))


def _cached_table(config: TableData) -> Indexed:
    if config.cache is False:
        return index_raw(_table(config))
    folder = cache_dir() / "prepared" if config.cache is True else Path(config.cache)
    return through_cache(folder, _source(config), lambda: index_raw(_table(config)))


def _source(config: TableData) -> Source:
    """The files of a table, and the settings that its rows follow from."""
    sides = {"items": config.items.path, "users": config.users.path}
    paths = {"": config.path, **{name: path for name, path in sides.items() if path is not None}}
    files = {
        name: find_files(path, key=".".join(filter(None, ("data", name, "path"))))
        for name, path in paths.items()
    }
    settings = config.model_dump(mode="json", exclude={"path", "cache", "split"})
    for name in sides:
        settings[name].pop("path")
    settings["files"] = {name: len(found) for name, found in files.items()}
    return Source([file for found in files.values() for file in found], settings)


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

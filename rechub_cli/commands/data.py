"""``rechub data NAME``: put a public data set into the cache, or say where it is to be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rechub_cli.errors import DataError, RechubError
from rechub_cli.shell.options import DATA_SETS
from rechub_cli.suggest import did_you_mean

if TYPE_CHECKING:
    from rechub_cli.data.raw import RawData


def run(words: list[str]) -> None:
    """Fetch ml_100k; look for the others, which have no download of their own, in the cache.

    Raises RechubError for another name than those of DATA_SETS, DataError where a set is not to
    be had.
    """
    if len(words) != 1 or words[0] not in DATA_SETS:
        found = " ".join(words) or "nothing"
        raise RechubError(
            f"rechub data takes one name, found {found}; allowed: {', '.join(DATA_SETS)}."
            + did_you_mean(found, DATA_SETS)
        )
    raw, place = _ml_100k() if words[0] == "ml_100k" else _by_hand(words[0])
    print(f"{words[0]} is in {place}: {raw.events.num_rows:,} interactions")
    if raw.identity is not None:
        print(f"{raw.identity.name}, SHA-256 {raw.identity.sha256}")
    for note in raw.notes:
        print(f"note: {note}")


def _ml_100k() -> tuple[RawData, object]:
    from rechub_cli.data.ml_100k import download_ml_100k, read_ml_100k

    folder = download_ml_100k()
    return read_ml_100k(folder), folder  # parsed and held against its canonical hash


def _by_hand(name: str) -> tuple[RawData, object]:
    from rechub_cli.data import amazon_beauty, ml_1m
    from rechub_cli.data.download import cache_dir

    home = ml_1m if name == "ml_1m" else amazon_beauty
    read = ml_1m.read_ml_1m if name == "ml_1m" else amazon_beauty.read_amazon_beauty
    folder = cache_dir() / home.FOLDER
    if not folder.is_dir():
        raise DataError(
            f"{name} has no archive to download: take {home.SOURCE} and put it into {folder}, "
            "then run this again to have it checked; or set data.path to where it is"
        )
    return read(None), folder

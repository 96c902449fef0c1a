"""MovieLens 1M as the SASRec paper cut it, by which published figures are compared.

Users and items with at least 5 events, ids from 1, each user's items oldest first:
``data/ml-1m.txt`` of the authors' repository (github.com/kang205/SASRec). GroupLens' terms forbid
redistribution: the file is read from a place of the user's.
"""

from __future__ import annotations

from pathlib import Path

from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.ordered import read_published, read_side
from rechub_cli.data.published import PublishedSet, Variant
from rechub_cli.data.raw import ITEM, RawData

NAME, FOLDER, TEXT = "ml_1m", "ml-1m", "ml-1m.txt"
SOURCE = "data/ml-1m.txt of github.com/kang205/SASRec"
PUBLISHED = PublishedSet(
    "the ml-1m file of the SASRec paper",
    users=6040,
    items=3416,
    events=999_611,
    sha256="b725f3acb3986fe3130bffd1e77a74d182a1f51799567a236dbd60270f95b0a2",
    any_order_sha256="ec4c935bf23bbf95927d432ce820dad76d3bbcfa2984243b072e3293ff07e8fb",
    variants=(Variant("GroupLens' whole ml-1m, which RecBole has too", 6040, 3706),),
)


def read_ml_1m(path: str | Path | None, *, filters: FilterOptions | None = None) -> RawData:
    """Read MovieLens 1M.

    path: ml-1m.txt (``user item`` lines), a Parquet file, or a folder with one of them; a folder
    may hold items.parquet (item_id, year, genres ...) and users.parquet (user_id, gender ...)
    too, by the ids of the interactions. None is the cache. Titles are left out.
    Raises DataError: no such file, unusable content.
    """
    return read_published(
        path,
        PUBLISHED,
        name=NAME,
        folder=FOLDER,
        text=TEXT,
        items=lambda file: read_side(file, ITEM, drop=("title",)),
        filters=filters,
    )

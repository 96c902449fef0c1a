"""Amazon Beauty (2014), 5-core, as the S3-Rec paper cut it: the set of most published figures.

``data/Beauty.txt``, a line ``user item item ...`` a user, oldest first, and
``data/Beauty_item2attributes.json`` of the authors' repository
(github.com/aHuiWang/CIKM2020-S3Rec).
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.ids import IdColumn
from rechub_cli.data.ordered import OrderedFile, read_published, read_side
from rechub_cli.data.published import PublishedSet, Variant
from rechub_cli.data.raw import ITEM, RawData
from rechub_cli.data.side_tables import SideRows
from rechub_cli.errors import DataError

NAME, FOLDER, TEXT = "amazon_beauty", "amazon-beauty", "Beauty.txt"
ATTRIBUTES = "Beauty_item2attributes.json"
SOURCE = f"data/{TEXT} (and data/{ATTRIBUTES}) of github.com/aHuiWang/CIKM2020-S3Rec"
PUBLISHED = PublishedSet(
    "the Beauty file of the S3-Rec paper",
    users=22_363,
    items=12_101,
    events=198_502,
    sha256="3033c84a07a0e9fb2626aa640919393edb983a63acfd129481c199bf07c9e537",
    any_order_sha256="72843bb9e2fa4d914261e488063ad4ce11b5448c5ef78bd6c2d49cad895323c9",
    variants=(
        Variant("the Beauty file of the SASRec paper", 52_024, 57_289),
        Variant("the Beauty file of the BERT4Rec paper", 40_226, 54_542),
    ),
)


def read_amazon_beauty(path: str | Path | None, *, filters: FilterOptions | None = None) -> RawData:
    """Read Amazon Beauty.

    path: Beauty.txt, a Parquet file, or a folder with one of them; a folder may hold
    items.parquet (item_id, attributes ...) or the attributes JSON too. None is the cache.
    Raises DataError: no such file, unusable content.
    """
    return read_published(
        path,
        PUBLISHED,
        name=NAME,
        folder=FOLDER,
        text=TEXT,
        items=lambda file: read_side(file, ITEM) or _attributes(file),
        filters=filters,
    )


def _attributes(file: OrderedFile) -> SideRows | None:
    """The JSON that maps an item to the list of its attributes, as one multi-valued column."""
    path = None if file.folder is None else file.folder / ATTRIBUTES
    if path is None or not path.is_file():
        return None
    try:
        found = json.loads(path.read_text()).items()
        lists = {str(item): [str(value) for value in values] for item, values in found}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f'{path}: expected a JSON object {{"item": [attribute, ...], ...}}: {error}'
        ) from None
    ids = IdColumn(from_text=True)
    ids.add(ids.parse(pa.array(lists, pa.string())))
    column = pa.chunked_array([pa.array(lists.values(), pa.list_(pa.string()))])
    return SideRows(ids.finish(), {"attributes": column})

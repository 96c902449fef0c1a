"""What preparing a table holds no longer than it must."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rechub_cli.data import ids
from rechub_cli.data.interactions import _dense
from rechub_cli.data.readers import read_table


def test_codes_in_order_are_not_copied() -> None:
    codes = np.array([0, 1, 1], dtype=np.int32)
    users = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array([3, 8]))
    found, rows, counts = _dense(pa.table({"user": users})["user"])
    assert (found.to_pylist(), counts.tolist()) == ([3, 8], [1, 2])
    assert np.shares_memory(rows, codes)


def test_what_a_column_was_collected_in_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story: list[str] = []
    finish = ids.IdColumn.finish

    class Pool:
        def release_unused(self) -> None:
            story.append("released")

    def finished(column: ids.IdColumn) -> ids.Ids:
        story.append("finished")
        return finish(column)

    monkeypatch.setattr(pa, "default_memory_pool", Pool)
    monkeypatch.setattr(ids.IdColumn, "finish", finished)
    (tmp_path / "log.csv").write_text("user_id,item_id\n1,a\n2,b\n")
    read_table(tmp_path / "log.csv")
    assert story == 2 * ["finished", "released"]

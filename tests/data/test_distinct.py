"""Distinct rows by marking, as torch.unique finds them."""

from __future__ import annotations

import pytest
import torch

from rechub_cli.data import distinct as module
from rechub_cli.data.distinct import distinct, find


@pytest.mark.parametrize("marked", [0, 10**9])
@pytest.mark.parametrize(("rows", "count"), [((7, 5), 12), ((1, 1), 1), ((64, 50), 3_417)])
def test_distinct_rows_are_torch_s(
    marked: int, rows: tuple[int, int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARKED", marked)
    given = torch.randint(count, rows, generator=torch.Generator().manual_seed(0))
    found, inverse = distinct(given, count)
    assert torch.equal(found[inverse], given)
    assert found.tolist() == sorted(set(given.flatten().tolist()))
    assert inverse.dtype == torch.int64


@pytest.mark.parametrize("marked", [0, 10**9])
def test_rows_are_found_among_others(marked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MARKED", marked)
    found = find(torch.tensor([1, 4, 5]), torch.tensor([5, 0, 1, 4, 7, 5]), 8)
    assert found.tolist() == [2, -1, 0, 1, -1, 2]

"""README's parts are replaced by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import readme


def test_a_part_takes_the_place_of_its_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "README.md"
    one, two = readme.marked("one", ["1"]), readme.marked("two", ["2", "3"])
    file.write_text(f"head\n{one}\nbetween\n{two}\nend\n")
    monkeypatch.setattr(readme, "README", file)
    again = readme.marked("two", ["4"])
    readme.write(again)
    assert file.read_text() == f"head\n{one}\nbetween\n{again}\nend\n"

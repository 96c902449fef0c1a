"""Records, their comparison and their table; nothing is timed here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.compare import main
from tests.benchmarks.record import FORMAT, Record, Row, machine, table
from tests.benchmarks.suite import benchmarks
from tests.benchmarks.timing import interleave, row

ROW = Row("mind/step", 0.2, 4.0, "matmul", 0.05, 5, rate=2560.0, unit="targets", target=5.0)


def saved(folder: Path, name: str, *rows: Row) -> str:
    file = folder / "deep" / name
    Record(list(rows), machine()).save(file)
    return str(file)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    other = Row("a/b", 1.0, 1.0, "c", 0.0, 1)
    file = Path(saved(tmp_path, "a.json", ROW, other))
    assert Record.load(file).rows == [ROW, other]
    content = json.loads(file.read_text())
    assert set(content) == {"format", "machine", "rows"}
    assert content["format"] == FORMAT
    assert {"cores", "processor", "python", "torch", "load_average"} <= set(content["machine"])
    assert content["rows"][0]["ratio"] == 4.0


@pytest.mark.parametrize(
    ("after", "code", "text"),
    [
        (4.5, 0, "mind/step: ratio 4 -> 4.5\n"),
        (4.7, 1, "mind/step: ratio 4 -> 4.7  SLOWER by 18%\n"),
        (3.0, 0, "mind/step: ratio 4 -> 3  faster by 25%\n"),
    ],
)
def test_a_ratio_that_grew_by_more_than_15_percent_is_a_regression(
    after: float, code: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slower = replace(ROW, ratio=after, seconds=0.001)  # a faster machine changes nothing
    files = saved(tmp_path, "a.json", ROW), saved(tmp_path, "b.json", slower)
    assert main(files) == code
    shown = capsys.readouterr().out
    assert text in shown
    assert f"{code} of 1 rows are more than 15% slower" in shown


def test_rows_of_one_record_only_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, fresh = replace(ROW, name="gone"), replace(ROW, name="fresh")
    files = saved(tmp_path, "a.json", gone, ROW), saved(tmp_path, "b.json", ROW, fresh)
    assert main(files) == 0
    shown = capsys.readouterr().out
    assert "gone: only in the first" in shown
    assert "fresh: only in the second" in shown


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "error:"),
        ("[]", "no benchmark record"),
        ('{"format": 0}', "no benchmark record of format"),
        ('{"format": 1, "machine": {}, "rows": [{"name": "x"}]}', "missing"),
        (json.dumps({"format": 1, "machine": {}, "rows": [vars(ROW), vars(ROW)]}), "twice"),
    ],
)
def test_files_that_are_no_records_are_refused(
    content: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = saved(tmp_path, "a.json", ROW), tmp_path / "bad.json"
    bad.write_text(content)
    assert main([good, str(bad)]) == 2
    assert text in capsys.readouterr().err
    assert main([good, str(tmp_path / "absent.json")]) == 2
    assert main([good]) == 2


def test_records_without_a_common_row_are_refused(tmp_path: Path) -> None:
    files = saved(tmp_path, "a.json", ROW), saved(tmp_path, "b.json", replace(ROW, name="x"))
    assert main(files) == 2


def test_the_ratio_is_of_the_same_round() -> None:
    """A busy spell that slows one round of both changes no ratio; medians would hide pairs."""
    made = row("a", [1.0, 20.0, 3.0], "b", [0.5, 10.0, 1.0], work=6, unit="rows", target=1.0)
    assert made.ratio == 2.0
    assert made.seconds == 3.0
    assert made.rate == 2.0
    assert made.rounds == 3
    assert made.spread == pytest.approx(0.25)  # quartiles of 2, 2, 3: 2 and 3


def test_one_round_has_no_spread() -> None:
    assert row("a", [2.0], "b", [1.0]).spread == 0.0


def test_works_take_turns() -> None:
    seen: list[str] = []
    works = {name: (lambda n=name: seen.append(n)) for name in "ab"}
    seconds = interleave(works, rounds=2)
    assert "".join(seen) == "ab" * 3  # the first round warms up
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}


def test_the_table_marks_what_missed_its_target() -> None:
    missed = replace(ROW, name="late", ratio=7.0, note="why")
    head, good, bad = table([ROW, missed]).splitlines()
    assert head.split() == ["what", "seconds", "rate", "ratio", "target", "spread", "against"]
    assert "2,560 targets/s" in good
    assert "MISSED" not in good
    assert "<= 5 MISSED" in bad
    assert bad.endswith("matmul (why)")


def test_benchmarks_are_named() -> None:
    assert {"stages", "evaluation", "export", "step", "ranking", "ingest"} <= set(benchmarks())

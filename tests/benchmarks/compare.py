"""Two records side by side: ``python -m tests.benchmarks.compare BEFORE.json AFTER.json``.

Exit code 1 where a ratio grew by more than 15%, 2 where the files cannot be compared.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.record import Record, Row

WORSE = 1.15
DONE, REGRESSED, USAGE = 0, 1, 2


def changes(before: Record, after: Record) -> list[tuple[Row, Row, float]]:
    """Rows of both records with how much their ratio grew, the most grown first."""
    old = {row.name: row for row in before.rows}
    pairs = [(old[row.name], row) for row in after.rows if row.name in old]
    grown = [(a, b, b.ratio / a.ratio) for a, b in pairs]
    return sorted(grown, key=lambda change: -change[2])


def report(before: Record, after: Record) -> tuple[str, int]:
    """The comparison as text, and the exit code."""
    found = changes(before, after)
    if not found:
        return "the records have no row in common", USAGE
    lines = [f"{b.name}: ratio {a.ratio:.3g} -> {b.ratio:.3g}{_verdict(g)}" for a, b, g in found]
    names = {row.name for row in before.rows}, {row.name for row in after.rows}
    lines += [f"{name}: only in the first" for name in sorted(names[0] - names[1])]
    lines += [f"{name}: only in the second" for name in sorted(names[1] - names[0])]
    worse = sum(g > WORSE for _, _, g in found)
    lines.append(f"{worse} of {len(found)} rows are more than {WORSE - 1:.0%} slower")
    return "\n".join(lines), REGRESSED if worse else DONE


def _verdict(grown: float) -> str:
    if grown > WORSE:
        return f"  SLOWER by {grown - 1:.0%}"
    return f"  faster by {1 - grown:.0%}" if grown < 1 / WORSE else ""


def main(words: Sequence[str]) -> int:
    if len(words) != 2:
        print(__doc__, file=sys.stderr)
        return USAGE
    try:
        text, code = report(*(Record.load(Path(word)) for word in words))
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

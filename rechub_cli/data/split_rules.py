"""Which splits there are and what each reads: the same rules for the shell and for Python.

No numpy here, as no torch is in ``trainers.rules``.
"""

from __future__ import annotations

from rechub_cli.checks import Rule, is_number

METHODS = ("leave_one_out", "time", "user", "given")
READ_BY = {"time": ("time",), "valid_share": ("time", "user"), "test_share": ("time", "user")}


def split_rules(
    method: str,
    *,
    time: int | str | None,
    valid_share: float | None,
    test_share: float | None,
) -> list[Rule]:
    """What a split would ignore, and shares that are none."""
    shares = {"valid_share": valid_share, "test_share": test_share}
    given = {"time": time, **shares}
    return [
        *(
            (
                given[key] is not None and method not in methods,
                f"{key}|is ignored by method={method}; it works with method={' or '.join(methods)}",
            )
            for key, methods in READ_BY.items()
        ),
        *(
            (
                share is not None and not (is_number(share) and 0 < share < 1),
                f"{key}|is not between the allowed 0 and 1",
            )
            for key, share in shares.items()
        ),
        (
            time is not None and test_share is not None,
            "test_share|is ignored beside a given time; set one of the two",
        ),
    ]

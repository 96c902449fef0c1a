"""Which splits there are and what each reads: the same rules for the shell and for Python.

No numpy here, as no torch is in ``trainers.rules``.
"""

from __future__ import annotations

from rechub_cli.checks import Rule, is_number

METHODS = ("leave_one_out", "time", "user", "given")
HELD_OUT_SHARE = 0.1
"""Of the rows or users, for validation and for test each, where nothing is said."""
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
    held_out = [HELD_OUT_SHARE if share is None else share for share in shares.values()]
    whole = time is None and all(map(is_number, held_out)) and sum(held_out) >= 1
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
        *(
            (
                whole and shares[key] is not None,
                f"{key}|leaves nothing to train on: valid_share and test_share (null: "
                f"{HELD_OUT_SHARE}) must add up to less than 1",
            )
            for key in shares
        ),
        (
            time is not None and test_share is not None,
            "test_share|is ignored beside a given time; set one of the two",
        ),
    ]

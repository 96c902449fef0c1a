"""What options of models need and would ignore: the same for the shell and for Python.

No torch here, as in ``trainers.rules``.
"""

from __future__ import annotations

from rechub_cli.checks import Rule, is_number


def selection_rules(selection: str, label_attention: float | None) -> list[Rule]:
    """Of the multi-interest models; see MultiInterestModel."""
    mixed, given = selection == "mixed", label_attention is not None
    return [
        (mixed and not given, "label_attention|is needed with selection=mixed, e.g. 1.0"),
        (
            given and not mixed,
            f"label_attention|is ignored by selection={selection}: set it to null, or use "
            "selection=mixed",
        ),
        (
            given and not (is_number(label_attention) and label_attention > 0),
            "label_attention|is no number above 0",
        ),
    ]

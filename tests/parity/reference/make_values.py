"""Write tests/parity/values/*.json: `python -m tests.parity.reference.make_values` at the root.

Each subject module checks itself while it computes (gradients against central differences, known
limits against closed forms). The same sources give the same bytes on one machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.parity.reference import (
    comirec_dr,
    comirec_sa,
    dssm,
    gru4rec,
    metrics,
    mind,
    point_pair_losses,
    sasrec,
    sequential_rules,
    softmax_losses,
    youtube_dnn,
)

SUBJECTS = {
    "softmax_losses": softmax_losses,
    "point_pair_losses": point_pair_losses,
    "dssm": dssm,
    "youtube_dnn": youtube_dnn,
    "mind": mind,
    "metrics": metrics,
    "sequential_rules": sequential_rules,
    "sasrec": sasrec,
    "gru4rec": gru4rec,
    "comirec_sa": comirec_sa,
    "comirec_dr": comirec_dr,
}
FOLDER = Path(__file__).resolve().parent.parent / "values"


def plain(value: Any) -> Any:
    """The same value made of JSON's own types; -0.0 becomes 0.0."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) + 0.0
    return value


def text(value: Any, *, indent: str = "") -> str:
    """JSON with one line a key and every list of numbers on one line."""
    deeper = indent + "  "
    if isinstance(value, dict) and any(isinstance(entry, dict | list) for entry in value.values()):
        lines = [
            f"{deeper}{json.dumps(key)}: {text(entry, indent=deeper)}"
            for key, entry in value.items()
        ]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict | str):
        lines = [deeper + text(entry, indent=deeper) for entry in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)


def main() -> None:
    """Compute and write every subject."""
    FOLDER.mkdir(exist_ok=True)
    for name, module in SUBJECTS.items():
        (FOLDER / f"{name}.json").write_text(text(plain(module.values())) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Both towers of a run, proven before they get their names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from rechub_cli.data.dataset import MatchData
from rechub_cli.export.inputs import write_inputs
from rechub_cli.export.onnx import export_tower
from rechub_cli.export.parity import check_parity, compare_towers
from rechub_cli.models.matching.base import MatchingModel


def export_towers(
    model: MatchingModel,
    data: MatchData,
    folder: Path,
    *,
    marks: dict[str, Any],
    tolerance: float,
    min_overlap: float,
) -> tuple[dict[str, Any], list[Path]]:
    """Write ``user_tower.onnx`` and ``item_tower.onnx`` into ``folder`` once both are proven, and
    beside them what their inputs are made of (see inputs).

    marks: the run's fingerprint; its hashes go into the files' metadata. Returns the parity
    figures and the files. Raises GateError, and leaves no file, where a file is not the model.
    """
    model = model.to("cpu")
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    metadata = {f"fingerprint.{key}": marks[key] for key in ("config", "data", "protocol")}
    try:
        for tower in ("user", "item"):
            export_tower(model, scratch / f"{tower}_tower.onnx", tower=tower, metadata=metadata)
        write_inputs(model, data, scratch)
        parity = compare_towers(model, data, scratch)
        check_parity(parity, tolerance=tolerance, min_overlap=min_overlap)
        folder.mkdir(parents=True, exist_ok=True)
        # Weights of their own come before the file that reads them.
        files = sorted(scratch.iterdir(), reverse=True)
        for file in files:
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return parity.to_json(), [folder / file.name for file in files]

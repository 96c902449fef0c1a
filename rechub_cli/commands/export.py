"""``rechub export``: write and prove the towers of a finished run again."""

from __future__ import annotations

from pathlib import Path

import torch

from rechub_cli.commands.printout import print_files, print_notes
from rechub_cli.config.schema import ExportRunConfig
from rechub_cli.export.bundle import export_towers
from rechub_cli.progress import result_console
from rechub_cli.runs import MANIFEST, load_run, read_json, write_json


def run(config: ExportRunConfig) -> None:
    """Export from the best checkpoint into the run's ``export`` folder."""
    done = load_run(
        config.run,
        data_path=config.data.path,
        items_path=config.data.items.path,
        users_path=config.data.users.path,
    )
    torch.set_num_threads(done.config.trainer.threads)
    console = result_console()
    print_notes(console, done.notes)
    parity, files = export_towers(
        done.model,
        done.data,
        Path(config.run) / "export",
        marks=done.fingerprint,
        tolerance=config.tolerance,
        min_overlap=config.min_overlap,
    )
    manifest = Path(config.run) / MANIFEST
    if manifest.exists():
        write_json(manifest, {**read_json(manifest), "parity": parity})
    console.print(
        f"parity: largest difference {parity['max_difference']:.1e}, top-10 overlap "
        f"{parity['overlap']:.4f} on {parity['rows']} held-out rows"
    )
    print_files(console, files)

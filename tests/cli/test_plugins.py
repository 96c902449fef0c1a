"""A model of another package: an entry point, a YAML file, and `rechub train` takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.process import ENV, SMALL, rechub

MODULE = """
from typing import Literal

from rechub_cli.config.node import Node
from rechub_cli.models.matching.youtube_dnn import YoutubeDNN
from rechub_cli.registry import ModelEntry


class Settings(Node):
    name: Literal["mine"]
    embed_dim: int
    temperature: float


def build(user_features, item_features, *, max_len, temperature):
    tower = {"dims": [8]}
    return YoutubeDNN(user_features, item_features, temperature=temperature, user_params=tower)


ENTRY = ModelEntry("mine", build, "nobody", settings=Settings)
BARE = ModelEntry("bare", build, "nobody")
"""
POINTS = """[rechub.models]
mine = their_models:ENTRY
bare = their_models:BARE
gone = no_such_module:ENTRY
"""


@pytest.fixture
def package(tmp_path: Path) -> dict[str, str]:
    """The environment in which the package is installed; its YAML file stands in MY."""
    site, info = tmp_path / "site", tmp_path / "site" / "their_models-1.dist-info"
    info.mkdir(parents=True)
    (site / "their_models.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-models\nVersion: 1\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "MY" / "model").mkdir(parents=True)
    yaml = "name: mine\nembed_dim: 8\ntemperature: 0.1\n"
    (tmp_path / "MY" / "model" / "mine.yaml").write_text(yaml)
    return {"PYTHONPATH": f"{ENV['PYTHONPATH']}:{site}"}


def test_a_model_of_another_package_is_trained(package: dict[str, str], tmp_path: Path) -> None:
    words = ("train", "--config-dir", "MY", "model=mine", *SMALL, "export=none")
    done = rechub(*words, "hydra.run.dir=run", cwd=tmp_path, env=package)
    assert (
        "rechub: model bare (their_models:BARE) is left out: its ModelEntry has no" in done.stderr
    )
    assert "rechub: model gone (no_such_module:ENTRY) is left out: No module" in done.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["recall@50"] > 0
    chosen = json.loads((tmp_path / "run" / "run.json").read_text())["chosen"]
    assert (chosen["sampler"], chosen["optimizer"], chosen["samples"]) == ("full", "adam", None)
    wrong = rechub(*words, "+model.temprature=1", cwd=tmp_path, env=package, code=2)
    assert "model.temprature: no such key; allowed here: embed_dim, name" in wrong.stderr
    assert "Did you mean 'temperature'?" in wrong.stderr
    assert "\nmine " in rechub("models", cwd=tmp_path, env=package).stdout

"""Recipes on the command line: shipped ones and a user's own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.process import SMALL, rechub

MINE = """# @package _global_
# Mine.
defaults:
  - override /model: dssm
trainer: {n_epoch: 7}
model:
  temperature: 0.3
"""


@pytest.fixture
def own(tmp_path: Path) -> tuple[str, str]:
    """The words that name a folder with a recipe of the user's."""
    (tmp_path / "own" / "recipe").mkdir(parents=True)
    (tmp_path / "own" / "recipe" / "mine.yaml").write_text(MINE)
    return "--config-dir", "own"


def test_a_run_says_what_became_of_its_recipe(own: tuple[str, str], tmp_path: Path) -> None:
    done = rechub("train", *own, "recipe=mine", *SMALL, "export=none", cwd=tmp_path)
    assert "train  recipe=mine model=dssm data=demo" in done.stderr
    why = "none are recorded"
    assert f"recipe mine: not compared with recorded figures: {why}" in done.stdout
    (run,) = tmp_path.glob("runs/demo-dssm/*")
    found = json.loads((run / "run.json").read_text())["recipe"]
    assert found == {"name": "mine", "result": "not compared", "why": why, "figures": {}}


def test_help_and_completion_have_the_recipe_s_values(own: tuple[str, str], tmp_path: Path) -> None:
    text = rechub("train", *own, "--help", "recipe=mine", cwd=tmp_path).stdout
    assert re.search(r"^ +mine +Mine\.$", text, re.MULTILINE)
    assert "trainer.n_epoch=7\n" in text
    assert "model.temperature=0.3" in text
    assert "model.item_params.dims" in text
    line = f"rechub train {' '.join(own)} recipe="
    assert "recipe=mine" in rechub("--complete", f"{line}m", cwd=tmp_path).stdout
    assert "model.item_params" in rechub("--complete", f"{line}mine model.i", cwd=tmp_path).stdout


def test_a_wrong_value_is_traced_to_the_recipe(own: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "own" / "recipe" / "mine.yaml"
    file.write_text(MINE.replace("0.3", "-1"))
    done = rechub("train", *own, "recipe=mine", "trainer.n_epoch=0", cwd=tmp_path, code=2)
    assert f"model.temperature: -1; allowed: greater than 0.  [{file}:7]" in done.stderr
    assert "trainer.n_epoch: 0; allowed" in done.stderr
    assert "[override 'trainer.n_epoch=0']" in done.stderr
    file.write_text("# Mine.\n" + MINE)  # Hydra wants its own line first
    done = rechub("train", *own, "recipe=mine", cwd=tmp_path, code=2)
    assert "recipe: In 'recipe/mine'" in done.stderr


def test_a_sweep_over_recipes(own: tuple[str, str], tmp_path: Path) -> None:
    words = ("recipe=mine", "model=dssm,mind", *SMALL, "export=none")
    done = rechub("train", "-m", *own, *words, cwd=tmp_path)
    assert "sweep: 2 of 2 points done" in done.stderr

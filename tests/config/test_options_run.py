"""Every shipped YAML file is run, from data to checkpoint."""

from __future__ import annotations

import json
import math
from pathlib import Path

import hydra
import pytest

from rechub_cli.commands import train
from rechub_cli.config.locate import conf_dir
from rechub_cli.config.origin import GROUPS, Origin
from rechub_cli.config.resolve import resolve
from rechub_cli.config.schema import RunConfig
from rechub_cli.registry import list_models
from rechub_cli.shell.diagnose import plain

SMALL = {
    "trainer.n_epoch": "1",
    "trainer.threads": "1",
    "model": "dssm",
    "export": "none",
    "evaluation.top_k": "[10]",
}
DEMO = {"data.num_users": "60", "data.num_items": "40"}
OPTIONS = [
    (file.parent.name, file.stem) for group in GROUPS for file in (conf_dir() / group).glob("*.y*")
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A file of 30 users with 8 events each."""
    rows = [f"u{n % 30},i{n * n % 23},{n}" for n in range(240)]
    file = tmp_path / "log.csv"
    file.write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    return file


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A file of 30 users with 8 items each, one line a user."""
    rows = [[user, *((user + 3 * n * n) % 23 for n in range(8))] for user in range(30)]
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(" ".join(map(str, row)) for row in rows))
    return file


@pytest.mark.parametrize(("group", "option"), sorted(OPTIONS))
def test_every_shipped_option_runs(
    group: str, option: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    words = {**SMALL, group: option}
    if option == "table":
        words["data.path"] = str(request.getfixturevalue("table"))
    elif option in ("ml_1m", "amazon_beauty"):
        words["data.path"] = str(request.getfixturevalue("lines"))
    elif option == "ml_100k":
        words["data.path"] = str(request.getfixturevalue("real_data") / "ml-100k")
    else:
        words |= DEMO
    folder = train_by(words, tmp_path)
    assert (folder / "export" / "user_tower.onnx").is_file() == (words["export"] == "towers")


def train_by(words: dict[str, str], tmp_path: Path) -> Path:
    """The folder of a run by these overrides, which has figures and a checkpoint."""
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        values = plain(hydra.compose("train", overrides=[f"{k}={v}" for k, v in words.items()]))
    folder = tmp_path / "run"
    train.run(resolve(RunConfig, values, origin=Origin()), folder)
    assert 0 <= json.loads((folder / "metrics.json").read_text())["test"]["recall@10"] <= 1
    assert (folder / "checkpoints" / "best" / "model.safetensors").is_file()
    return folder


def paper_forms() -> dict[str, list[str]]:
    """Model -> the overrides of its paper's form, from the README's table."""
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    table = text.split("## Models", 1)[1].split("##", 1)[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    return {row[1].strip(" `"): row[3].strip(" `").split() for row in rows}


@pytest.mark.parametrize("model", [entry.name for entry in list_models()])
def test_every_model_s_paper_form_trains_and_is_served(model: str, tmp_path: Path) -> None:
    """The towers' gate holds too: served vectors are those of training."""
    form = dict(word.split("=", 1) for word in paper_forms()[model])
    folder = train_by({**SMALL, **DEMO, "model": model, **form, "export": "towers"}, tmp_path)
    losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()]
    assert all(map(math.isfinite, losses))
    assert (folder / "export" / "user_tower.onnx").is_file()


def test_no_yaml_file_is_forgotten() -> None:
    """Every file of conf/ is an option of a group or a root that a verb composes."""
    roots = {"train.yaml", "evaluate_run.yaml", "export_run.yaml"}
    found = {file.relative_to(conf_dir()).as_posix() for file in conf_dir().rglob("*.y*")}
    found = {name for name in found if not name.startswith("recipe/")}  # tests/recipes has them
    assert found == roots | {f"{group}/{option}.yaml" for group, option in OPTIONS}

"""Recipes compose, run, and stay what their figures were measured with."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from rechub_cli.commands import train
from rechub_cli.config.locate import conf_dir
from rechub_cli.config.origin import Origin
from rechub_cli.config.resolve import to_yaml
from rechub_cli.config.schema import RunConfig
from rechub_cli.data.raw import Identity
from rechub_cli.recipes import differences, expectation, judge, settings
from tests.data.test_ml_100k import GENRES
from tests.readme import README
from tests.recipes.record import compose, recipe_of, recipe_settings, recipes, spread, summarise
from tests.recipes.table import load, render

USERS, ITEMS = 30, 23


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each data set of a recipe, cut down to 30 users with 8 events."""
    folder = tmp_path_factory.mktemp("small")
    walks = {u + 1: [(u + 3 * n * n) % ITEMS + 1 for n in range(8)] for u in range(USERS)}
    rows = [(u, item, n) for u, items in walks.items() for n, item in enumerate(items)]
    flags = "|".join("01" * 9 + "0")
    texts = {
        "u.data": "\n".join(f"{u}\t{i}\t5\t{881250949 + n}" for u, i, n in rows),
        "u.user": "\n".join(f"{u}|{20 + u}|F|other|85711" for u in walks),
        "u.item": "\n".join(f"{i}|M{i} (1995)||||{flags}" for i in range(1, ITEMS + 1)),
        "lines.txt": "\n".join(" ".join(map(str, [u, *items])) for u, items in walks.items()),
    }
    assert flags.count("|") + 1 == len(GENRES)
    for name, text in texts.items():
        (folder / name).write_text(text + "\n")
    return {
        "ml_100k": folder,
        "ml_1m": folder / "lines.txt",
        "amazon_beauty": folder / "lines.txt",
    }


@pytest.mark.parametrize("recipe", recipes(), ids=lambda path: path.stem)
def test_every_recipe_runs(recipe: Path, small: dict[str, Path], tmp_path: Path) -> None:
    data = compose(recipe.stem).data.name
    config = compose(
        recipe.stem, f"data.path={small[data]}", "trainer.n_epoch=1", "trainer.threads=1",
        "export=none",
    )  # fmt: skip
    train.run(config, tmp_path / "run", recipe=recipe)
    judged = json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]
    assert judged["name"] == recipe.stem
    assert judged["result"] == "not compared"


@pytest.mark.parametrize("recipe", recipes(), ids=lambda path: path.stem)
def test_a_recipe_is_named_after_what_it_trains_and_hides_no_root(recipe: Path) -> None:
    config = compose(recipe.stem)
    assert recipe.stem.startswith(f"{config.data.name}_{config.model.name}")
    assert not (conf_dir() / recipe.name).exists(), "Hydra would take the root config instead"
    assert recipe.read_text().startswith("# @package _global_\n# ")


@pytest.mark.parametrize("file", sorted(p.stem for p in recipes()[0].parent.glob("*.json")))
def test_a_recipe_still_has_the_settings_of_its_figures(file: str) -> None:
    recipe = recipes()[0].with_name(f"{file}.yaml")
    assert recipe.is_file(), "figures without a recipe"
    recorded = expectation(recipe)
    assert recorded is not None
    moved = differences(recipe_settings(recipe), recorded["config"])
    assert not moved, (
        f"{file}: its figures were measured with other settings. Run it again and record the runs "
        "(python -m tests.recipes.record RUN ...); only where no figure can change: "
        "python -m tests.recipes.record --renew"
    )


def test_the_recorded_files_are_whole() -> None:
    for name, recorded in load().items():
        assert recorded["protocol"].startswith("leave-one-out, full ranking, seen items masked")
        assert recorded["minutes"] > 0, name
        assert recorded["peak_mib"] > 0
        assert recorded["seeds"]
        assert all(row["tolerance"] > 0 for row in recorded["metrics"].values())


def test_the_readme_shows_the_recorded_figures() -> None:
    assert render(load()) in README.read_text(), "python -m tests.recipes.record"


def test_the_command_line_has_the_last_word() -> None:
    config = compose("ml_100k_dssm", "model=mind", "trainer.n_epoch=3", "seed=4")
    assert (config.model.name, config.trainer.n_epoch, config.seed) == ("mind", 3, 4)
    assert config.data.name == "ml_100k"


FIGURES = {"ndcg@10": 0.1, "recall@10": 0.2}
PUBLISHED = Identity("the file", "abc", published=True)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A recipe with figures, .1 ± .01 and .2 ± .02."""
    config = settings(compose("ml_100k_mind").model_dump(mode="json"))
    metrics = {name: {"mean": v, "std": 0.0, "tolerance": v / 10} for name, v in FIGURES.items()}
    content = {"config": config, "interactions": "abc", "metrics": metrics}
    (tmp_path / "mine.json").write_text(json.dumps(content))
    return tmp_path / "mine.yaml"


@pytest.mark.parametrize(
    ("ndcg", "recall", "result"),
    [
        (0.1, 0.2, "within"),
        (0.0901, 0.2199, "within"),
        (0.0899, 0.2, "below"),
        (0.1101, 0.2, "above"),
        (0.1101, 0.1799, "below"),
    ],
)
def test_figures_are_held_against_the_recorded_ones(
    ndcg: float, recall: float, result: str, recorded: Path
) -> None:
    found = {"ndcg@10": ndcg, "recall@10": recall, "hr@10": 0.0}
    verdict = judge(recorded, compose("ml_100k_mind"), PUBLISHED, found)
    assert verdict.result == result
    assert verdict.figures["ndcg@10"] == {"found": ndcg, "expected": 0.1, "tolerance": 0.01}
    warning = verdict.shortfall()
    assert (warning is not None) == (result == "below")
    if warning is not None:
        assert warning.name == "recipe_shortfall"
        assert f"ndcg@10 {ndcg:.4f} (0.1000 ± 0.0100)" in warning.text


def test_seed_place_and_machine_leave_a_recipe_what_it_is(recorded: Path) -> None:
    config = compose(
        "ml_100k_mind", "seed=9", "data.path=x", "trainer.threads=1", "trainer.device=cpu",
        "export=none",
    )  # fmt: skip
    assert judge(recorded, config, PUBLISHED, FIGURES).result == "within"


def test_what_is_not_the_recipe_is_not_compared(recorded: Path) -> None:
    changed = compose("ml_100k_mind", "trainer.n_epoch=1", "model.interest_num=2")
    verdict = judge(recorded, changed, PUBLISHED, FIGURES)
    assert verdict.result == "not compared"
    assert verdict.why == "other settings: model.interest_num=2 (4), trainer.n_epoch=1 (50)"
    assert verdict.shortfall() is None
    other = replace(PUBLISHED, name="an unknown preprocessing", sha256="def")
    verdict = judge(recorded, compose("ml_100k_mind"), other, FIGURES)
    assert verdict.why == "other interactions: an unknown preprocessing"
    verdict = judge(recorded.with_name("new.yaml"), changed, PUBLISHED, FIGURES)
    assert verdict.why == "none are recorded"


def test_a_run_below_its_figures_is_warned_of(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose(
        "ml_100k_mind", "data=demo", "data.num_users=60", "data.num_items=40", "trainer.n_epoch=1",
        "trainer.threads=1", "export=none",
    )  # fmt: skip
    content = json.loads(recorded.with_suffix(".json").read_text())
    content["metrics"]["ndcg@10"]["mean"] = 0.99
    content |= {"config": settings(config.model_dump(mode="json")), "interactions": None}
    recorded.with_suffix(".json").write_text(json.dumps(content))
    train.run(config, tmp_path / "run", recipe=recorded)
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["recipe"]["result"] == "below"
    assert "recipe_shortfall" in [warning["name"] for warning in manifest["warnings"]]
    assert capsys.readouterr().out.count("recipe mine: below") == 1


def test_a_value_that_the_recipe_leaves_alone_is_traced_to_its_own_file(tmp_path: Path) -> None:
    recipe, trainer = tmp_path / "mine.yaml", conf_dir() / "trainer" / "listwise.yaml"
    recipe.write_text("# @package _global_\ntrainer: {n_epoch: 7}\n")
    origin = Origin(files={"trainer": trainer}, recipe=recipe)
    assert origin.of("trainer.n_epoch") == f"{recipe}:2"
    assert origin.of("trainer.batch_size").startswith(f"{trainer}:")


def test_settings_are_what_figures_follow_from() -> None:
    config = {
        "seed": 1,
        "export": {"name": "none"},
        "exporting": 2,
        "trainer": {"precision": "fp32", "compile": True},
        "model": {"input_dropout": None, "dropout": None},  # the first was 0 once
        "data": {"path": "x", "paths": ["y"], "time": None},
        "features": {"types": {"year": "dense"}, "exclude": [], "more": {}},
    }
    assert settings(config) == {
        "exporting": 2,
        "trainer.precision": "fp32",
        "model.input_dropout": None,
        "data.paths": ["y"],
        "features.types.year": "dense",
        "features.exclude": [],
        "features.more": {},
    }


def test_a_setting_that_came_or_went_is_a_difference() -> None:
    assert differences({"a": 1, "b": 2.0}, {"a": 1, "b": 2.0}) == []
    assert differences({"a": 1, "c": None}, {"a": True, "b": "x"}) == [
        "a=1 (true)",
        'b=nothing ("x")',
        "c=null (nothing)",
    ]
    assert differences({"trainer.precision": "fp32"}, {}) == []
    assert differences({"trainer.precision": "bf16"}, {}) == ['trainer.precision="bf16" ("fp32")']


def write_run(folder: Path, config: RunConfig, *, seed: int, found: float, **manifest: Any) -> Path:
    folder.mkdir()
    row = dict.fromkeys(("recall@10", "ndcg@10", "recall@50"), found)
    baselines = {name: {"test": row} for name in ("popularity", "sequential_rules")}
    content = {
        "fingerprint": {"seed": seed},
        "interactions": asdict(PUBLISHED),
        "protocol": {
            "split": {"method": "leave_one_out"},
            "mask_seen": True,
            "ranking": "full",
            "ties": "against",
        },
        "measured": {"epochs": 3 + seed, "total_seconds": 60 + seed, "peak_memory_mib": 500 + seed},
        "warnings": [],
        **manifest,
    }
    (folder / "config.yaml").write_text(to_yaml(config))
    (folder / "metrics.json").write_text(json.dumps({"test": row, "baselines": baselines}))
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def test_recording_finished_runs(tmp_path: Path) -> None:
    config = compose("ml_100k_mind")
    runs = [
        write_run(tmp_path / str(seed), config, seed=seed, found=found)
        for seed, found in ((2, 0.1), (0, 0.3))
    ]
    assert recipe_of(runs[0]).stem == "ml_100k_mind"
    content = summarise(runs, {"a": 1})
    assert content["config"] == {"a": 1}
    assert content["seeds"] == [0, 2]
    assert content["interactions"] == "abc"
    assert (content["epochs"], content["minutes"], content["peak_mib"]) == (5, 1.0, 502)
    assert content["protocol"] == (
        "leave-one-out, full ranking, seen items masked, ties against the model"
    )
    figure = content["metrics"]["ndcg@10"]
    assert figure["mean"] == pytest.approx(0.2)
    assert figure["std"] == pytest.approx(0.02**0.5)
    assert figure["tolerance"] == pytest.approx(3 * 0.02**0.5)
    assert spread([0.2]) == pytest.approx({"mean": 0.2, "std": 0, "tolerance": 0.01})


def test_runs_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    config = compose("ml_100k_mind")
    one = write_run(tmp_path / "a", config, seed=0, found=0.1)
    with pytest.raises(SystemExit, match="one run a seed"):
        summarise([one, one], {})
    data = asdict(replace(PUBLISHED, sha256="def"))
    other = write_run(tmp_path / "b", config, seed=1, found=0.1, interactions=data)
    with pytest.raises(SystemExit, match="all on one published data set"):
        summarise([one, other], {})
    own = asdict(replace(PUBLISHED, published=False))
    with pytest.raises(SystemExit, match="all on one published data set"):
        summarise([write_run(tmp_path / "c", config, seed=2, found=0.1, interactions=own)], {})


@pytest.mark.parametrize("name", ["collapsed_interests", "recipe_shortfall"])
def test_a_run_that_warned_is_no_recipe_s(name: str, tmp_path: Path) -> None:
    """But for falling behind the figures that it is to replace."""
    warnings = [{"name": name, "text": "..."}]
    run = write_run(tmp_path / "a", compose("ml_100k_mind"), seed=0, found=0.1, warnings=warnings)
    if name == "recipe_shortfall":
        assert summarise([run], {})["seeds"] == [0]
        return
    with pytest.raises(SystemExit, match="warned of collapsed_interests"):
        summarise([run], {})


def test_a_run_with_other_settings_is_no_recipe_s(tmp_path: Path) -> None:
    config = compose("ml_100k_mind", "trainer.optimizer_params.lr=0.5")
    run = write_run(tmp_path / "a", config, seed=0, found=0.1)
    with pytest.raises(SystemExit, match=r"ml_100k_mind but for .*lr=0\.5 \(0\.001\)"):
        recipe_of(run)
    values = yaml.safe_load(to_yaml(compose("ml_100k_mind")))
    del values["trainer"]["samples"]  # a run of before this setting came
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    assert recipe_of(run).stem == "ml_100k_mind"
    del values["model"]["input_dropout"]  # and of before one that then was another
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SystemExit, match=r"but for \['model\.input_dropout=0\.0 \(null\)'\]"):
        recipe_of(run)

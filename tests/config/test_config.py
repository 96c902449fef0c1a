"""The shipped YAML files and the schema say the same; wrong settings are all in one report."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from pydantic import BaseModel

from rechub_cli.config import data_schema, model_schema, schema, trainer_schema
from rechub_cli.config.later import LATER
from rechub_cli.config.locate import conf_dir
from rechub_cli.config.node import Node
from rechub_cli.config.origin import GROUPS, Origin
from rechub_cli.config.resolve import load_config, resolve, to_yaml
from rechub_cli.config.schema import RunConfig
from rechub_cli.errors import ConfigError
from rechub_cli.runs import split_options
from rechub_cli.shell.arguments import parse
from rechub_cli.shell.diagnose import diagnose, plain

OPTIONS = [
    (group, file.stem) for group in GROUPS for file in sorted((conf_dir() / group).glob("*.yaml"))
]
SCHEMAS: dict[str, type[Node]] = {
    "data/demo": data_schema.DemoData,
    "data/ml_100k": data_schema.Ml100kData,
    "data/ml_1m": data_schema.OrderedData,
    "data/amazon_beauty": data_schema.OrderedData,
    "data/table": data_schema.TableData,
    "features/auto": schema.FeaturesConfig,
    "model/comirec_dr": model_schema.ComirecDrParams,
    "model/comirec_sa": model_schema.ComirecSaParams,
    "model/dssm": model_schema.DssmParams,
    "model/gru4rec": model_schema.Gru4recParams,
    "model/mind": model_schema.MindParams,
    "model/sasrec": model_schema.SasrecParams,
    "model/youtube_dnn": model_schema.YoutubeDnnParams,
    "trainer/listwise": trainer_schema.ListwiseTrainer,
    "trainer/pairwise": trainer_schema.PairwiseTrainer,
    "trainer/pointwise": trainer_schema.PointwiseTrainer,
    "export/towers": schema.TowersExport,
    "export/none": schema.NoExport,
}


def composed(*overrides: str, root: str = "train") -> dict[str, Any]:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return plain(hydra.compose(root, overrides=list(overrides)))


def problems(*overrides: str, root: str = "train", node: type[Node] = RunConfig) -> list[str]:
    """The lines of the report on a composed config."""
    with pytest.raises(ConfigError) as caught:
        resolve(node, composed(*overrides, root=root), origin=Origin(overrides))
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_shipped_option_composes_and_resolves(group: str, option: str) -> None:
    extra = ("data.path=here",) if option == "table" else ()
    config = resolve(RunConfig, composed(f"{group}={option}", *extra), origin=Origin())
    chosen = getattr(config, group)
    assert getattr(chosen, "mode" if group == "trainer" else "name") == option


def assert_same_keys(values: dict[str, Any], node: type[BaseModel], where: str) -> None:
    assert set(values) == set(node.model_fields), where
    for key, value in values.items():
        inner = node.model_fields[key].annotation
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, BaseModel):
            assert_same_keys(value, inner, f"{where}.{key}")


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_yaml_keys_are_the_schema_s_fields(group: str, option: str) -> None:
    values = yaml.safe_load((conf_dir() / group / f"{option}.yaml").read_text())
    assert_same_keys(values, SCHEMAS[f"{group}/{option}"], f"{group}/{option}")


def test_the_schema_has_no_default() -> None:
    """A default stands in one place, the YAML."""
    modules = (schema, data_schema, model_schema, trainer_schema)
    for name, node in [pair for module in modules for pair in vars(module).items()]:
        if isinstance(node, type) and issubclass(node, BaseModel):
            assert all(f.is_required() for f in node.model_fields.values()), name


def test_root_keys_are_the_schema_s_fields() -> None:
    assert set(composed()) == set(RunConfig.model_fields)
    for root, node in (
        ("evaluate_run", schema.EvaluateConfig),
        ("export_run", schema.ExportRunConfig),
    ):
        assert set(composed("run=x", root=root)) == set(node.model_fields)


def test_a_resolved_config_is_read_again(tmp_path: Path) -> None:
    config = resolve(RunConfig, composed("data=table", "data.path=x"), origin=Origin())
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "config.yaml") == config
    with pytest.raises(ConfigError, match="no run, config.yaml is missing"):
        load_config(tmp_path / "none" / "config.yaml")


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("data=table", "data.path=x"), 10),
        (("model=sasrec",), 8),
        (("model=gru4rec",), 7),
        (("model=comirec_dr",), 10),
        (("trainer=pairwise",), 8),
        (("model=dssm",), 9),
    ],
)
def test_a_config_of_before_some_settings_is_read(
    words: tuple[str, ...], count: int, tmp_path: Path
) -> None:
    values = resolve(RunConfig, composed(*words), origin=Origin()).model_dump(mode="json")
    nodes = [
        (later, reduce(lambda node, key: node.get(key, {}), later.group.split("."), values))
        for later in LATER
    ]
    missing = [(later, node) for later, node in nodes if later.key in node and later.fits(node)]
    for later, node in missing:
        node[later.key] = later.value
    config = RunConfig.model_validate(values)
    for later, node in missing:
        del node[later.key]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert len(missing) == count
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(("model", "rate"), [("comirec_dr", 5e-3), ("mind", 1e-3)])
def test_a_learning_rate_of_before_is_that_of_the_model(
    model: str, rate: float, tmp_path: Path
) -> None:
    words = f"model={model}", "data=table", "data.path=x", f"trainer.optimizer_params.lr={rate}"
    config = resolve(RunConfig, composed(*words), origin=Origin())
    values = config.model_dump(mode="json")
    values["trainer"]["optimizer_params"]["lr"] = None
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(("model", "length"), [("sasrec", 200), ("gru4rec", 200), ("mind", 50)])
def test_a_history_length_of_before_is_that_of_the_model(
    model: str, length: int, tmp_path: Path
) -> None:
    words = f"model={model}", "data=table", "data.path=x"
    config = resolve(RunConfig, composed(*words, f"features.max_len={length}"), origin=Origin())
    values = config.model_dump(mode="json")
    values["features"]["max_len"] = None
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert load_config(tmp_path / "config.yaml") == config


def test_what_held_before_a_setting_does_not_overrule_it(tmp_path: Path) -> None:
    config = resolve(RunConfig, composed("model=sasrec"), origin=Origin())
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("mode", ["pointwise", "pairwise"])
@pytest.mark.parametrize("sampler", ["auto", "full"])
def test_a_sampler_of_another_mode_is_refused_for_that_alone(mode: str, sampler: str) -> None:
    (found,) = problems(f"trainer={mode}", f"trainer.negatives.sampler={sampler}")
    assert found.startswith("trainer.negatives.sampler: ") and "listwise mode only" in found, found


def test_windows_need_a_causal_model() -> None:
    found = problems("model=mind", "trainer.samples=windows", "trainer.monitor=ndcg@7")
    assert [line.split(":")[0] for line in found] == ["trainer.samples", "trainer.monitor"]
    assert "'windows' needs a causal model (gru4rec, sasrec)" in found[0]
    assert "override 'trainer.samples=windows'" in found[0]
    words = ("model=gru4rec", "trainer.samples=windows")
    assert resolve(RunConfig, composed(*words), origin=Origin(words)).trainer.samples == "windows"


@pytest.mark.parametrize("name", ["dssm", "youtube_dnn", "mind", "comirec_dr", "comirec_sa"])
def test_the_towers_follow_a_width(name: str) -> None:
    made = resolve(RunConfig, composed(f"model={name}", "model.embed_dim=32"), origin=Origin())
    model = made.model.model_dump()
    towers = [model[side]["dims"] for side in ("user_params", "item_params") if side in model]
    assert towers and all(dims[-1] == 32 for dims in towers)


def test_all_problems_come_at_once() -> None:
    found = problems(
        "+trainr.lr=3",
        "model.temperature=-1",
        "trainer.n_epoch=two",
        "trainer.negatives.alpha=1",
        "trainer.monitor=ndcg@7",
        "~seed",
        "+model._target_=os.system",
    )
    keys = sorted(line.split(":")[0] for line in found)
    assert keys == [
        "model._target_",
        "model.temperature",
        "seed",
        "trainer.monitor",
        "trainer.n_epoch",
        "trainer.negatives.alpha",
        "trainr",
    ]
    by_key = {line.split(":")[0]: line for line in found}
    assert "Did you mean 'trainer'?" in by_key["trainr"]
    assert "[override 'model.temperature=-1']" in by_key["model.temperature"]
    assert "names no Python object" in by_key["model._target_"]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["trainer.batch_size=0"], "trainer.batch_size: 0; allowed: greater than or equal to 1."),
        (["model.similarity=cosin"], "Did you mean 'cosine'?"),
        (["model=sasrec", "model.num_heads=3"], "num_heads: 3 does not divide the width 128"),
        (["model=mind", "model.selection=mixed"], "label_attention: None is needed with selection"),
        (["model=mind", "model.label_attention=2.0"], "label_attention: 2.0 is ignored by"),
        (["model.user_params.dims=[8]"], "must end in the width of the item vectors"),
        (["model.user_params.activation=rellu"], "Did you mean 'relu'?"),
        (["+x=1"], "x: no such key"),
        (["trainer.negatives.sampler=uniform"], "num_negatives: None is needed with sampler"),
        (["trainer.negatives.logq=both"], "logq: 'both' is ignored by sampler=auto"),
        (["trainer=pairwise", "trainer.negatives.sampler=in_batch"], "ignored by sampler=in_batch"),
        (["data=ml_1m", "data.split.test_share=.1"], "test_share: 0.1 is ignored by method="),
        (["data=ml_1m", "data.split.method=time"], "data.split.method: 'time'; allowed:"),
        (["data=ml_100k", "data.split.method=given"], "data.split.method: 'given'; allowed:"),
        (["data=ml_100k", "data.split.time=3"], "time: 3 is ignored by method=leave_one_out"),
        (["data=table", "data.path=x", "data.column_names=[a]"], "ignored while header=true"),
        (["data=table", "data.path=x", "data.header=false"], "is needed with header=false"),
        (["data=table", "data.path=x", "data.rating_threshold=3"], "needs a rating"),
        (["data=table", "data.path=x", "data.columns.rating=r"], "only serves rating_threshold"),
        (["data=table", "data.path=x", "data.columns.split=s"], "works with split.method=given"),
        (["data=table", "data.path=x", "data.split.method=given"], "is needed with split.method"),
        (["data=table", "data.path=x", "data.items.key=sku"], "key: 'sku' is ignored without"),
        (["data=table"], "data.path: is not set and has no default"),
        (["trainer.optimizer_params.lr=inf"], "lr: inf; allowed: a finite number."),
        (["trainer.clip_norm=nan"], "clip_norm: nan; allowed: a finite number."),
        (["data.split=time"], "data.split: 'time'; allowed: keys of its own"),
        (
            ["trainer.loss=bpr"],
            "trainer.loss: 'bpr' is a loss of mode pairwise; listwise has softmax",
        ),
        (
            ["data=table", "data.path=x", "data.format=parquet", "data.separator=s"],
            "data.separator: 's' is ignored by format=parquet",
        ),
        (
            [
                "data=table",
                "data.path=x",
                "data.format=parquet",
                "data.header=false",
                "data.column_names=[user_id,item_id]",
            ],
            "data.header: False is ignored by",
        ),
        (
            ["trainer.schedule.name=anneal", "trainer.n_epoch=2"],
            "trainer.schedule: (anneal) needs n_epoch of 3 or more",
        ),
        (["features.oov_share=1.5"], "features.oov_share: 1.5; allowed: less than 1."),
        (["evaluation.top_k=[]"], "evaluation.top_k"),
        (
            ["evaluation.top_k=[10,100000000000]"],
            "top_k.1: 100000000000; allowed: less than or equal to 1000000.",
        ),
    ],
)
def test_wrong_settings_are_named(overrides: list[str], line: str) -> None:
    assert any(line in problem for problem in problems(*overrides)), problems(*overrides)


def test_the_origin_of_a_root_setting_is_the_nearest_root_that_has_it(tmp_path: Path) -> None:
    mine, shipped = tmp_path / "mine.yaml", conf_dir() / "train.yaml"
    mine.write_text("defaults: [train]\nseed: 1\n")
    origin = Origin(roots=(mine, shipped))
    assert origin.of("seed") == f"{mine}:2"
    assert origin.of("evaluation.top_k").startswith(f"{shipped}:")
    assert origin.of("nothing") == ""
    assert Origin(("seed=3",), roots=(mine,)).of("seed") == "override 'seed=3'"


def test_the_origin_of_a_value_is_its_file_and_line() -> None:
    file = conf_dir() / "model" / "mind.yaml"
    values = composed()
    values["model"]["temperature"] = 0.0
    with pytest.raises(ConfigError) as caught:
        resolve(RunConfig, values, origin=Origin(files={"model": file}))
    line = next(
        n for n, text in enumerate(file.read_text().splitlines(), 1) if "temperature" in text
    )
    assert f"[{file}:{line}]" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["diversity.category=g"], ["diversity.factors: [] is needed with diversity.category"]),
        (
            ["diversity.factors=[1]", "diversity.num_candidates=9"],
            [
                "diversity.factors: [1] is ignored without diversity.category",
                "diversity.num_candidates: 9 is ignored without diversity.category",
            ],
        ),
        (["diversity.category=g", "diversity.factors=[-1]"], ["diversity.factors.0: -1;"]),
        (["top_k=[1000001]"], ["top_k.0: 1000001; allowed: less than or equal to 1000000."]),
        (["by=[age]"], ["by.0: 'age'; allowed: 'history_length' or 'popularity'"]),
    ],
)
def test_evaluate_refuses_what_it_would_ignore(words: list[str], lines: list[str]) -> None:
    found = problems("run=x", *words, root="evaluate_run", node=schema.EvaluateConfig)
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("2024-05-05", "s", 1714867200),
        ("2024-05-05T00:00:00Z", "s", 1714867200),
        ("2024-05-05T02:00:00+02:00", "ms", 1714867200_000),
        ("2024-05-04T18:30:00.000000001-0530", "ns", 1714867200_000000001),
        ("2024-05", "s", 1714521600),
    ],
)
def test_a_cut_is_utc_or_in_its_own_zone(text: str, unit: str, expected: int) -> None:
    split = {"method": "time", "time": text}
    values = composed("data=table", "data.path=x")
    values["data"]["split"] |= split
    config = resolve(RunConfig, values, origin=Origin())
    assert split_options(config, unit).time == expected


def test_a_lazy_optimizer_refuses_what_reaches_every_row() -> None:
    found = problems(
        "trainer.optimizer_params.name=lazy_adam",
        "trainer.optimizer_params.weight_decay=0.1",
    )
    assert len(found) == 1
    assert "weight_decay" in found[0]
    found = problems("trainer.optimizer_params.name=rowwise_adagrad", "trainer.clip_norm=1.0")
    assert ["clip_norm" in line or "sampler" in line for line in found] == [True, True]


@pytest.mark.parametrize(
    "words",
    [
        ["model.num_heads=1,2", "model=sasrec"],
        ["data.path=a,b", "data=table"],
        ["data.path=a,b", "data=ml_1m,ml_100k"],
    ],
)
def test_a_swept_key_may_stand_before_the_group_that_has_it(words: list[str]) -> None:
    own = [*words, "data.columns.user=u", "data.columns.item=i"] if "data=table" in words else words
    assert diagnose(parse(["-m", *own]), root="train", schema=RunConfig) is None

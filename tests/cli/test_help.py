"""--help and TAB: right, and quick because nothing heavy is imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rechub_cli.shell.options import Key, keys_of
from tests.cli.process import ENV, ROOT, python, rechub

MODELS = sorted(file.stem for file in (ROOT / "conf" / "model").glob("*.yaml"))
FILES = sorted((ROOT / "conf").rglob("*.yaml"))
VERBS = ("train", "evaluate", "export", "models", "check", "estimate", "data", "completion")


def test_help_names_groups_options_keys_and_examples(tmp_path: Path) -> None:
    text = rechub("train", "--help", cwd=tmp_path).stdout
    for part in (
        *MODELS,
        "pairwise",
        "ml_100k",
        "model.temperature=0.07",
        "model.user_params.dropout=0.1",
        "cosine | dot",
        "ml_100k_youtube_dnn",
        "examples",
        "exit codes",
    ):
        assert part in text
    assert text.count("  rechub train") == 4


def test_help_beside_options_has_their_keys(tmp_path: Path) -> None:
    text = rechub("train", "data=table", "--help", "model=dssm", cwd=tmp_path).stdout
    assert 'model.item_params.dims=[256, "${model.embed_dim}"]' in text
    assert "data.columns.user=user_id" in text
    assert "model.interest_num" not in text
    assert "data.num_users" not in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, tmp_path: Path) -> None:
    text = rechub(verb, "--help", cwd=tmp_path).stdout
    assert f"rechub {verb}" in text
    assert verb in rechub("--help", cwd=tmp_path).stdout


def test_keys_below_a_commented_key_are_shown_whole(tmp_path: Path) -> None:
    text = rechub("evaluate", "--help", cwd=tmp_path).stdout
    for part in ("diversity.category=null", "diversity.factors=[]", "data.path=null"):
        assert f"  {part} " in text
    assert "diversity=" not in text


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_key_that_is_shown_exists(file: Path) -> None:
    values = yaml.safe_load(file.read_text())
    for key in keys_of(file):
        node = values
        for step in key.name.split("."):
            assert step in node, key.name
            node = node[step]
        assert not isinstance(node, dict), key.name


def test_help_and_completion_import_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "import rechub_cli\n"
        "from rechub_cli.cli import main\n"
        f"for verb in {VERBS}: main([verb, '--help'])\n"
        "main(['--complete', 'rechub train model=']); main(['completion', 'zsh'])\n"
        "heavy = {'torch', 'hydra', 'pandas', 'pyarrow', 'numpy', 'rich', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    assert python("-c", script, cwd=tmp_path).stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("comment", "default", "expected"),
    [
        ("full | mixed (in-batch + uniform)", "full", ["full", "mixed"]),
        ("mean | sum of multi-valued columns.", "mean", ["mean", "sum"]),
        ("all | first | last: which stays.", "all", ["all", "first", "last"]),
        ("A column of train | valid | test.", "null", []),
        ("Seeds weights.", "0", []),
        ("Leave out the seen.", "true", ["true", "false"]),
    ],
)
def test_choices_are_read_from_the_comment(comment: str, default: str, expected: list[str]) -> None:
    assert Key("key", default, comment).choices == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rechub tr", ["train"]),
        ("rechub train model=", [f"model={m}" for m in MODELS]),
        ("rechub train model=mi", ["model=mind"]),
        ("rechub train -m model=mind,ds", ["model=mind,dssm"]),
        ("rechub train trainer=pairwise trainer.neg", [
            "trainer.negatives.sampler=", "trainer.negatives.num_negatives=",
            "trainer.negatives.alpha=", "trainer.negatives.pool_size=",
        ]),
        ("rechub train model=dssm model.item_params.d", [
            "model.item_params.dims=", "model.item_params.dropout=",
        ]),
        ("rechub check data=table data.columns.ti", ["data.columns.timestamp="]),
        ("rechub train model.similarity=", ["model.similarity=cosine", "model.similarity=dot"]),
        ("rechub train evaluation.mask_seen=f", ["evaluation.mask_seen=false"]),
        ("rechub train data=table data.path=", []),
        ("rechub estimate trainer.thr", ["trainer.threads="]),
        ("rechub evaluate ma", ["mask_seen="]),
        ("rechub evaluate diversity.c", ["diversity.category="]),
        ("rechub evaluate split=", ["split=test", "split=valid"]),
        ("rechub data ", ["ml_100k", "ml_1m", "amazon_beauty"]),
        ("rechub train rec", ["recipe="]),
        ("rechub train recipe=ml_100k_d", ["recipe=ml_100k_dssm"]),
        ("rechub train recipe=ml_100k_dssm model.item_params.di", ["model.item_params.dims="]),
        ("rechub completion z", ["zsh"]),
        ("rechub train --mul", ["--multirun"]),
        ("rechub models ", []),
    ],
)  # fmt: skip
def test_completion_words(line: str, expected: list[str], tmp_path: Path) -> None:
    done = rechub("--complete", line, cwd=tmp_path)
    assert [w.strip() for w in done.stdout.splitlines() if w.strip()] == expected


def test_completion_knows_the_user_s_own_files(tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "small.yaml").write_text("name: dssm\nembed_dim: 8\n")
    line = "rechub train --config-dir mine model="
    assert "model=small" in rechub("--complete", f"{line}s", cwd=tmp_path).stdout
    done = rechub("--complete", f"{line}small model.", cwd=tmp_path)
    assert done.stdout.split() == ["model.embed_dim="]


@pytest.fixture
def shell_env(tmp_path: Path) -> dict[str, str]:
    """A PATH with a command ``rechub``, for real shells."""
    shim = tmp_path / "rechub"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m rechub_cli "$@"\n')
    shim.chmod(0o755)
    return {**ENV, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def in_shell(shell: str, script: str, env: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(
        [shell, "-c", script], cwd=cwd, env=env, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rechub tr", "train "),
        ("rechub train model=mi", "mind "),
        ("rechub train -m model=mind,ds", "mind,dssm "),
        ("rechub train model.simil", "model.similarity="),
        ("rechub train model.similarity=", "cosine |dot "),
        ("rechub train data.path=", ""),  # then bash itself offers files
    ],
)
def test_completion_in_a_real_bash(
    line: str, expected: str, tmp_path: Path, shell_env: dict[str, str]
) -> None:
    script = (
        f'eval "$(rechub completion bash)"; COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}; '
        '_rechub; printf "%s|" "${COMPREPLY[@]}"'
    )
    assert in_shell("bash", script, shell_env, tmp_path) == f"{expected}|"


def test_bash_completes_files_where_there_is_no_word(
    tmp_path: Path, shell_env: dict[str, str]
) -> None:
    script = 'eval "$(rechub completion bash)"; complete -p rechub'
    assert "-o default" in in_shell("bash", script, shell_env, tmp_path)


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here")
def test_completion_in_a_real_fish(tmp_path: Path, shell_env: dict[str, str]) -> None:
    (tmp_path / "events").mkdir()
    script = "rechub completion fish | source; complete -C '{}'"
    for line, expected in (
        ("rechub train model=mi", "model=mind"),
        ("rechub train data=table data.path=eve", "data.path=events/"),
    ):
        found = in_shell("fish", script.format(line), shell_env, tmp_path)
        assert found.strip() == expected


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh here")
def test_the_zsh_script_is_zsh(tmp_path: Path, shell_env: dict[str, str]) -> None:
    script = (
        'autoload -Uz compinit; compinit -u -D; eval "$(rechub completion zsh)"; '
        "echo ${_comps[rechub]}"
    )
    assert in_shell("zsh", script, shell_env, tmp_path) == "_rechub\n"

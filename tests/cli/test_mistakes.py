"""What a user can get wrong: all of it in one report, exit code 2, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.process import ENV, ROOT, SMALL, python, rechub


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["trian"], ["unknown command 'trian'", "Did you mean 'train'?"]),
        (["train", "model=mnd"], ["no option 'mnd'", "Did you mean 'mind'?"]),
        (["train", "model=null"], ["no option 'null'; allowed: comirec_dr"]),
        (["check", "recipe=3"], ["no option '3'; allowed: amazon_beauty"]),
        (["train", "+model=mnd"], ["no option 'mnd'", "Did you mean 'mind'?"]),
        (["train", "modle=mind"], ["no such key", "Did you mean 'model'?"]),
        (["train", "trainer.lr=1"], ["Did you mean 'trainer.optimizer_params.lr'?"]),
        (
            ["train", "trainer.n_epochs=3", "model=mnd", "+foo=1", "data.seed=x", "~seed"],
            ["5 problems", "trainer.n_epochs", "'trainer.n_epoch'", "model:", "foo:", "data.seed"],
        ),
        (["train", "+_target_=os.system", "seed=-1"], ["2 problems", "names no Python object"]),
        (["train", "mind"], ["'mind' is neither a flag nor KEY=VALUE", "model=mind?"]),
        (["train", "=3"], ["'=3' is neither a flag nor KEY=VALUE"]),
        (["train", "seed=1,2", "x=1"], ["2 problems", "several values need the flag -m"]),
        (
            ["train", "data=table", "data.path=a/day=1", "seed=-1"],
            ["2 problems", """typed 'data.path="a/day=1"'""", "seed: -1"],
        ),
        (["train", "model.temperature=${no}"], ["model.temperature: Interpolation key 'no'"]),
        (["train", "data.split=time"], ["data.split: 'time'; allowed: keys of its own"]),
        (["train", "hydra/launcher=no", "seed=-1"], ["2 problems", "hydra/launcher/no"]),
        (["train", "--config-dri", "x"], ["unknown flag", "Did you mean '--config-dir'?"]),
        (["train", "--config-dir"], ["--config-dir needs a value"]),
        (["train", "--config-dir", "nowhere"], ["no such folder"]),
        (["train", "--config-name", "nowhere"], ["--config-name nowhere"]),
        (["train", "-m", "seed=0,1", "--cfg", "job"], ["--cfg", "-m"]),
        (["train", "-m", "model=mind,mnd", "seed=-1"], ["2 problems", "no option 'mnd'"]),
        (["train", "trainer.device=cuda"], ["device=cuda", "finds no CUDA GPU"]),
        (
            ["train", "trainer.compile=true", "trainer.device=cpu", "seed=-1"],
            ["2 problems", "trainer.compile: True is slower on a CPU"],
        ),
        (["train", "trainer.precision=fp16"], ["allowed: 'fp32' or 'bf16'"]),
        (
            ["train", *SMALL, "trainer.schedule.warmup_steps=99"],
            ["warmup_steps=99, and", "are all that the epochs"],
        ),
        (["train", "data=table"], ["data.path: is not set"]),
        (["train", "data=table", "data.path=none.csv"], ["none.csv"]),
        (["evaluate", "run=nowhere"], ["no run, config.yaml is missing"]),
        (["evaluate"], ["run: is not set"]),
        (["evaluate", "run=x", "model=mind"], ["model: no such key; allowed here: run, split"]),
        (["data", "ml_10k"], ["Did you mean 'ml_100k'?"]),
        (["models", "mind"], ["takes no words"]),
        (["completion", "tcsh"], ["allowed: bash, zsh, fish"]),
        (["train", "data=ml_100k"], ["rechub data ml_100k"]),
        (
            ["train", "recipe=ml_100k_mnd"],
            ["no option 'ml_100k_mnd'", "Did you mean 'ml_100k_mind"],
        ),
        (["train", "ml_100k_mind"], ["did you mean recipe=ml_100k_mind?"]),
        (["check", "data=ml_1m"], ["rechub data ml_1m"]),
        (["data", "amazon_beauty"], ["Beauty.txt", "data.path"]),
    ],
    ids=lambda value: " ".join(value) if value and " " not in value[0] else "",
)
def test_mistakes_exit_2_and_leave_nothing(
    words: list[str], parts: list[str], tmp_path: Path
) -> None:
    done = rechub(*words, cwd=tmp_path, code=2, env={"RECHUB_CACHE": str(tmp_path / "cache")})
    for part in parts:
        assert part in done.stderr
    assert done.stderr.count("error:") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["train", "check", "estimate", "evaluate", "export"])
def test_a_sweep_of_mistakes_exits_1_and_leaves_nothing(verb: str, tmp_path: Path) -> None:
    words = ["tolerance=-1,-2", "run=x"] if verb == "export" else ["seed=-1,-2"]
    words = ["top_k=[0],[-1]", "run=x"] if verb == "evaluate" else words
    done = rechub(verb, "-m", *words, cwd=tmp_path, code=1)
    assert done.stderr.startswith("rechub ")
    assert "sweep: 0 of 2 points done" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_never_takes_the_user_s_own_folder_away(tmp_path: Path) -> None:
    here = tmp_path / "deep" / "empty"
    here.mkdir(parents=True)
    rechub("train", "seed=-1", "hydra.run.dir=out", cwd=here, code=2)
    rechub("train", "seed=-1", "hydra.run.dir=a/b/c", cwd=here, code=2)
    assert here.is_dir()
    assert list(here.iterdir()) == []
    (here / "own" / "empty").mkdir(parents=True)
    for place in ("run", "sweep"):
        rechub("train", "seed=-1", f"hydra.{place}.dir=own/empty/run", cwd=here, code=2)
    assert [p.name for p in (here / "own").rglob("*")] == ["empty"]
    (here / "own" / "empty").rmdir()
    (here / "own").rmdir()
    (here / "runs").mkdir()
    rechub("train", "seed=-1", cwd=here, code=2)
    assert [p.name for p in here.rglob("*")] == ["runs"]
    (here / "runs" / "notes.txt").touch()
    rechub("train", "seed=-1", cwd=here, code=2)
    assert [p.name for p in here.rglob("*")] == ["runs", "notes.txt"]


def test_data_that_train_nothing_leave_no_run(tmp_path: Path) -> None:
    """Users of three events have one training event each, and SASRec needs two."""
    rows = [f"u{n},i{(n + step) % 9}" for n in range(30) for step in range(3)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id", *rows]) + "\n")
    words = ("train", "data=table", "data.path=log.csv", "model=sasrec", "hydra.run.dir=run")
    done = rechub(*words, cwd=tmp_path, code=2)
    assert "no user has two training events" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]


def test_what_the_machine_refuses_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = rechub("train", "hydra.run.dir=file/run", cwd=tmp_path, code=2)
    assert done.stderr == "error: Not a directory: file/run\n"


def test_own_yaml_files_join_a_group(tmp_path: Path) -> None:
    own = tmp_path / "mine" / "model"
    own.mkdir(parents=True)
    text = (ROOT / "conf" / "model" / "dssm.yaml").read_text()
    (own / "small.yaml").write_text(text.replace("embed_dim: 128", "embed_dim: 8"))
    done = rechub("train", "model=small", "--config-dir", "mine", "--cfg", "job", cwd=tmp_path)
    assert "embed_dim: 8" in done.stdout
    (own / "small.yaml").write_text(text.replace("temperature: 0.1", "temperature: -1.0"))
    done = rechub("train", "model=small", "--config-dir", "mine", cwd=tmp_path, code=2)
    assert "model.temperature: -1.0" in done.stderr
    assert "small.yaml:4]" in done.stderr
    (own / "small.yaml").write_text("name: dssm\n  embed_dim: [\n")
    done = rechub("train", "seed=-1", "model=small", "--config-dir=mine", cwd=tmp_path, code=2)
    assert "2 problems" in done.stderr
    assert "small.yaml\", line 2" in done.stderr  # fmt: skip


def test_own_yaml_files_cannot_name_python_objects(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "mine.yaml").write_text("name: none\n_target_: os.system\n")
    done = rechub("train", "export=mine", "--config-dir", ".", cwd=tmp_path, code=2)
    assert "export._target_: is refused" in done.stderr
    assert "mine.yaml:2]" in done.stderr


def test_a_root_config_of_one_s_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("defaults: [train, _self_]\nseed: -4\n")
    words = ("train", "--config-dir", ".", "--config-name", "mine")
    done = rechub(*words, "trainer.n_epoch=0", cwd=tmp_path, code=2)
    assert "mine.yaml:2]" in done.stderr
    assert "trainer.n_epoch: 0" in done.stderr
    assert "seed: -4" in rechub(*words, "--cfg", "job", cwd=tmp_path).stdout


def test_a_broken_row_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n1,a,10\n1,b,soon\n")
    done = rechub("train", "data=table", "data.path=log.csv", cwd=tmp_path, code=2)
    for part in ("log.csv", "line 3", "timestamp", "soon"):
        assert part in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["log.csv"]


BROKEN = """
import sys
from rechub_cli.commands import start
def broken(config, run_dir, origin): raise ZeroDivisionError("oh")
root, schema, _ = start.COMMANDS[sys.argv[1]]
start.COMMANDS[sys.argv[1]] = (root, schema, broken)
from rechub_cli.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_bug_names_its_log_and_exits_3(tmp_path: Path) -> None:
    done = python("-c", BROKEN, "check", cwd=tmp_path, code=3, env={"TMPDIR": str(tmp_path)})
    (log,) = tmp_path.glob("rechub-error-*.log")
    assert str(log) in done.stderr
    assert "ZeroDivisionError" in log.read_text()


def test_memory_that_runs_out_is_no_bug(tmp_path: Path) -> None:
    broken = BROKEN.replace('ZeroDivisionError("oh")', 'RuntimeError("can\'t allocate memory")')
    done = python("-c", broken, "check", cwd=tmp_path, code=2, env={"TMPDIR": str(tmp_path)})
    assert done.stderr.splitlines()[-1].startswith("error: the memory ran out: lower")
    assert list(tmp_path.iterdir()) == []


def test_a_bug_in_a_sweep_is_logged_in_its_point(tmp_path: Path) -> None:
    done = python("-c", BROKEN, "train", "-m", "seed=0,1", cwd=tmp_path, code=1)
    logs = sorted(tmp_path.glob("runs/sweeps/*/[01]/rechub-error-*.log"))
    assert len(logs) == 2
    for log in logs:
        assert str(log) in done.stderr
        assert "ZeroDivisionError" in log.read_text()


def test_the_first_line_is_out_before_torch_is_imported(tmp_path: Path) -> None:
    """torch takes seconds; a fake one that fails at once stands in its place."""
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch is imported')\n")
    path = f"{tmp_path}:{ENV['PYTHONPATH']}"
    for words in (["train", *SMALL], ["train", "-m", "seed=0,1"], ["check"], ["evaluate", "run=x"]):
        done = rechub(
            *words,
            cwd=tmp_path,
            code=1 if "-m" in words else 3,
            env={"PYTHONPATH": path, "TMPDIR": str(tmp_path)},
        )
        first, *rest = done.stderr.splitlines()
        assert first.startswith("rechub 0.")
        assert words[0] in first
        assert "torch is imported" in "".join(rest)


def test_a_bug_in_a_run_is_logged_in_it(tmp_path: Path) -> None:
    done = python("-c", BROKEN, "train", cwd=tmp_path, code=3)
    (log,) = tmp_path.glob("runs/*/*/rechub-error-*.log")
    assert str(log) in done.stderr


def test_a_place_that_no_file_system_takes_is_named(tmp_path: Path) -> None:
    done = rechub("train", f"hydra.run.dir={'x' * 300}", cwd=tmp_path, code=2)
    assert done.stderr.startswith("error: File name too long: xxx")

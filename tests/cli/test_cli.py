"""The command line through a real process: what is printed, written and returned."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.text import Text

from tests.cli.process import ENV, ROOT, SMALL, rechub

MODELS = sorted(file.stem for file in (ROOT / "conf" / "model").glob("*.yaml"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small finished run, shared by the tests that read it."""
    folder = tmp_path_factory.mktemp("run")
    done = rechub("train", "model=mind", *SMALL, cwd=folder)
    told = ("mind", "popularity (floor)", "sequential rules (reference)", "oracle (ceiling)")
    for text in (*told, "writing the towers, and holding them against the model"):
        assert text in done.stdout
    assert "epoch 1/1  loss" in done.stderr
    assert done.stderr.startswith("rechub ")
    (found,) = folder.glob("runs/demo-mind/*")
    return found


def test_a_run_leaves_its_files(run: Path) -> None:
    names = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert names == {
        "config.yaml",
        "overrides.yaml",
        "metrics.json",
        "metrics.jsonl",
        "run.json",
        "checkpoints/best/model.safetensors",
        "checkpoints/best/state.json",
        "checkpoints/last/model.safetensors",
        "checkpoints/last/state.json",
        "export/user_tower.onnx",
        "export/vocabulary.parquet",
        "export/inputs.json",
        "export/item_tower.onnx",
    }
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics) == {"valid", "test", "by", "queries", "interests", "baselines", "oracle"}
    queries = metrics["queries"]["test"]["queries"]
    for name in ("history_length", "popularity"):
        rows = metrics["by"][name]
        assert len(rows) > 1 and sum(row["count"] for row in rows) == queries
        whole = sum(row["count"] * row["recall@10"] for row in rows) / queries
        assert whole == pytest.approx(metrics["test"]["recall@10"])
    assert set(metrics["baselines"]) == {"popularity", "sequential_rules"}
    assert {"recall@10", "ndcg@10", "hr@5", "mrr@20", "coverage@50"} <= set(metrics["test"])
    manifest = json.loads((run / "run.json").read_text())
    marks = json.dumps(manifest["fingerprint"])
    assert str(run) not in marks
    assert "seconds" not in marks
    assert manifest["parity"]["overlap"] >= 0.999
    assert manifest["chosen"]["schedule"] == "constant"  # of one epoch


def test_the_same_command_gives_the_same_bits(run: Path, tmp_path: Path) -> None:
    rechub("train", "model=mind", *SMALL, cwd=tmp_path)
    (again,) = tmp_path.glob("runs/demo-mind/*")
    for name in (
        "metrics.json",
        "checkpoints/best/model.safetensors",
        "export/user_tower.onnx",
        "export/vocabulary.parquet",
        "export/inputs.json",
        "export/item_tower.onnx",
    ):
        assert (again / name).read_bytes() == (run / name).read_bytes(), name
    marks = [json.loads((r / "run.json").read_text())["fingerprint"] for r in (run, again)]
    assert marks[0] == marks[1]


def test_evaluate_on_a_copy_gives_the_same_digits(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(run, copy)
    rechub("evaluate", f"run={copy}", cwd=tmp_path)
    (file,) = (copy / "evaluations").glob("*.json")
    trained = json.loads((run / "metrics.json").read_text())
    assert json.loads(file.read_text())["test"] == trained["test"]
    assert json.loads((copy / "metrics.json").read_text()) == trained
    rechub("evaluate", f"run={copy}", "top_k=[3]", "mask_seen=false", "split=valid", cwd=tmp_path)
    assert len(list((copy / "evaluations").glob("*.json"))) == 2


def test_evaluate_looks_closer(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(run, copy)
    done = rechub(
        "evaluate", f"run={copy}", "by=[history_length,popularity]", "diversity.category=genres",
        "diversity.factors=[0,5]", cwd=tmp_path,
    )  # fmt: skip
    (file,) = (copy / "evaluations").glob("*.json")
    found = json.loads(file.read_text())
    trained = json.loads((run / "metrics.json").read_text())
    for name in ("test", "interests"):
        assert found[name] == trained[name]
    for rows in found["by"].values():
        assert sum(row["count"] for row in rows) == trained["queries"]["test"]["queries"] == 60
    plain, spread = found["diversity"]
    assert plain["ndcg@10"] == pytest.approx(found["test"]["ndcg@10"])
    assert plain["diversity@10"] < spread["diversity@10"]
    for text in ("by history length", "by popularity", "made anew by genres", "effective rank"):
        assert text in done.stdout
    done = rechub(
        "evaluate", f"run={copy}", "diversity.category=genre", "diversity.factors=[1]",
        cwd=tmp_path, code=2,
    )  # fmt: skip
    assert "Did you mean 'genres'?" in done.stderr


def test_export_again_writes_equal_bytes(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "export")
    rechub("export", f"run={copy}", cwd=tmp_path)
    name = "export/user_tower.onnx"
    assert (copy / name).read_bytes() == (run / name).read_bytes()


def test_export_fails_by_its_gate(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "export")
    done = rechub("export", f"run={copy}", "tolerance=1e-12", cwd=tmp_path, code=1)
    assert "vectors differ by" in done.stderr
    assert not (copy / "export").exists()


def test_a_run_whose_export_fails_is_finished(tmp_path: Path) -> None:
    words = ("model=dssm", "export.tolerance=1e-12", "hydra.run.dir=a run")
    done = rechub("train", *words, *SMALL, cwd=tmp_path, code=1)
    assert "vectors differ by" in done.stderr
    assert f"`rechub export 'run={tmp_path / 'a run'}'`" in done.stderr
    assert "popularity (floor)" in done.stdout
    manifest = json.loads((tmp_path / "a run" / "run.json").read_text())
    assert manifest["parity"] is None
    assert manifest["measured"]["epochs"] == 1
    rechub("evaluate", "run=a run", cwd=tmp_path)
    rechub("export", "run=a run", cwd=tmp_path)
    assert (tmp_path / "a run" / "export" / "user_tower.onnx").exists()
    later = json.loads((tmp_path / "a run" / "run.json").read_text())
    assert later.pop("parity")["max_difference"] < 1e-4
    assert later == {k: v for k, v in manifest.items() if k != "parity"}


def test_a_stopped_run_is_read_from_its_best_epoch(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(run, copy)
    for name in ("run.json", "metrics.json", "export/user_tower.onnx"):
        (copy / name).unlink()
    (copy / "checkpoints" / "best").rename(copy / "checkpoints" / ".best.old")
    done = rechub("evaluate", f"run={copy}", cwd=tmp_path, env={"COLUMNS": "1000"})
    assert "note: the run was not finished (run.json is missing): this is epoch 1" in done.stdout
    (file,) = (copy / "evaluations").glob("*.json")
    found = json.loads(file.read_text())
    assert found["test"] == json.loads((run / "metrics.json").read_text())["test"]
    assert "not finished" in found["notes"][0]
    done = rechub("export", f"run={copy}", cwd=tmp_path)
    assert "note: the run was not finished" in done.stdout
    name = "export/user_tower.onnx"
    assert (copy / name).read_bytes() == (run / name).read_bytes()
    shutil.rmtree(copy / "checkpoints")
    done = rechub("evaluate", f"run={copy}", cwd=tmp_path, code=2)
    assert "no finished run, nor has it finished an epoch" in done.stderr


def test_a_damaged_checkpoint_is_named(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(run, copy)
    (copy / "checkpoints" / "best" / "model.safetensors").write_bytes(b"nothing")
    done = rechub("evaluate", f"run={copy}", cwd=tmp_path, code=2)
    assert "is damaged" in done.stderr


def test_a_sweep_runs_all_points_and_lists_the_failed(tmp_path: Path) -> None:
    done = rechub(
        "train", "export=none", *SMALL, "-m", "model=dssm", "trainer.batch_size=64,0,32",
        cwd=tmp_path, code=1,
    )  # fmt: skip
    assert "2 of 3 points done" in done.stderr
    assert "trainer.batch_size=0" in done.stderr
    assert len(list(tmp_path.glob("runs/sweeps/*/*/metrics.json"))) == 2


def test_cfg_and_info_print_and_stop(tmp_path: Path) -> None:
    for words in (
        ("--cfg", "job", "model=dssm"),
        ("model=dssm", "--cfg=job"),
        ("+model=dssm", "-c", "job", "--resolve"),
        ("model=mind", "--package", "model", "model=dssm", "--cfg", "job"),
    ):
        assert "name: dssm" in rechub("train", *words, cwd=tmp_path).stdout
    assert "Defaults" in rechub("train", "--info", "defaults", cwd=tmp_path).stdout
    assert "Defaults" in rechub("train", "--info", "defaults", "seed=1", cwd=tmp_path).stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_an_interrupted_run_says_where_its_checkpoint_is(
    sent: signal.Signals, code: int, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "rechub_cli", "train", "model=dssm", "data.num_users=200"]
    with subprocess.Popen(
        [*command, "data.num_items=60", "trainer.n_epoch=5000", "trainer.patience=null"],
        cwd=tmp_path,
        env=ENV,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        for _ in range(600):
            if list(tmp_path.glob("runs/*/*/checkpoints/last/state.json")):
                break
            time.sleep(0.1)  # waits for the event above, not for a duration
        process.send_signal(sent)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    last = stderr.strip().splitlines()[-1]
    told = re.search("`rechub (evaluate run=.*)` reads its best epoch", last)
    assert told is not None
    rechub(*told[1].split(), cwd=tmp_path)


def test_models_and_version(tmp_path: Path) -> None:
    text = rechub("models", cwd=tmp_path, env={"COLUMNS": "200"}).stdout
    for name in MODELS:
        assert name in text
    assert rechub("--version", cwd=tmp_path).stdout.startswith("rechub 0.")


def test_a_table_of_one_s_own(tmp_path: Path) -> None:
    """The contract of the main user: other column names, a folder, side tables, relative paths."""
    (tmp_path / "events").mkdir()
    for part in range(2):
        users = [f"u{(n * 7) % 30}" for n in range(part * 200, part * 200 + 200)]
        items = [2**53 + 1 + (n * n) % 23 for n in range(part * 200, part * 200 + 200)]
        times = [1_700_000_000 + n for n in range(part * 200, part * 200 + 200)]
        pq.write_table(
            pa.table({"visitor": users, "sku": items, "ts": times}),
            tmp_path / "events" / f"{part}.parquet",
        )
    pq.write_table(
        pa.table(
            {
                "sku": [2**53 + 1 + n for n in range(23)],
                "tags": [["a"], ["b"], []] * 7 + [["a"], None],
            }
        ),
        tmp_path / "items.parquet",
    )
    words = (
        "data=table", "data.path=events", "data.columns.user=visitor", "data.columns.item=sku",
        "data.columns.timestamp=ts", "data.items.path=items.parquet",
    )  # fmt: skip
    done = rechub("check", *words, cwd=tmp_path)
    assert "30 users" in done.stdout
    assert "item features: item_id, tags" in done.stdout
    assert "2023-11-14" in Text.from_ansi(done.stdout).plain
    assert not (tmp_path / "runs").exists()
    kinds = ("features.types={tags: multi}", "features.max_len=5", "export=none")
    rechub("train", "model=youtube_dnn", *words, *SMALL[2:], *kinds, cwd=tmp_path)
    (run,) = tmp_path.glob("runs/table-youtube_dnn/*")
    other = tmp_path / "other"
    other.mkdir()
    rechub("evaluate", f"run={run}", cwd=other)
    moved = tmp_path / "moved"
    (tmp_path / "events").rename(moved)
    rechub("evaluate", f"run={run}", cwd=tmp_path, code=2)
    (tmp_path / "items.parquet").rename(tmp_path / "goods.parquet")
    done = rechub("evaluate", f"run={run}", "data.path=moved", cwd=tmp_path, code=2)
    assert "items.parquet" in done.stderr
    places = ("data.path=moved", "data.items.path=goods.parquet")
    rechub("evaluate", f"run={run}", *places, cwd=tmp_path)
    done = rechub("evaluate", f"run={run}", "data.users.path=x", cwd=tmp_path, code=2)
    assert "data.users.path='x': the run reads no such table" in done.stderr
    (moved / "1.parquet").unlink()
    done = rechub("evaluate", f"run={run}", *places, cwd=tmp_path, code=2)
    assert "not those of the run" in done.stderr

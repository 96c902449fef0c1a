"""The towers' files: same bytes anywhere, a gate that closes, nothing half-written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors import SafetensorError

from rechub_cli.data.dataset import MatchData
from rechub_cli.errors import ConfigError, GateError, RechubError
from rechub_cli.export import bundle
from rechub_cli.export import onnx as writer
from rechub_cli.export.contract import example_batch, tower_inputs
from rechub_cli.export.onnx import export_tower
from rechub_cli.export.parity import Parity, Tower, _TopLists, check_parity, compare_towers
from rechub_cli.features import Feature, SequenceFeature, SparseFeature
from rechub_cli.models.matching.dssm import DSSM
from rechub_cli.trainers.checkpoint import load_checkpoint, save_checkpoint
from tests.contract.conftest import make_model, tiny

__all__ = ["tiny"]
MARKS = {"config": "c", "data": "d", "protocol": "p"}


def test_metadata_and_inputs(tiny: MatchData, tmp_path: Path) -> None:
    model = make_model("mind", tiny)
    export_tower(model, tmp_path / "u.onnx", tower="user", metadata={"fingerprint.data": "abc"})
    proto = onnx.load(tmp_path / "u.onnx")
    found = {p.key: p.value for p in proto.metadata_props}
    assert found["model"] == "mind"
    assert found["similarity"] == "cosine"
    assert float(found["temperature"]) == model.temperature
    assert found["fingerprint.data"] == "abc"
    assert int(found["vocab_size.history"]) == model.schema.by_name["history"].vocab_size  # type: ignore[union-attr]
    shapes = {
        i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim]
        for i in proto.graph.input
    }
    assert shapes["history"] == ["batch", "length"]
    assert shapes["history_length"] == ["batch"]
    assert shapes["history_genres"][:2] == ["batch", "length"]
    assert proto.opset_import[0].version == 20


@pytest.mark.parametrize("tower", ["user", "item"])
def test_a_column_may_have_any_name(tower: str, tmp_path: Path) -> None:
    """The tracer's own values are called so, too."""
    names = ["cat", "linear", "embedding", "val_0", "add", "in_0", "view", "inner.cat"]
    names += ["type", "items", "class", "from", "training", "ü x", 'a"b', "it's", "a\nb", "c\\"]
    features: list[Feature] = [SparseFeature(name, 9, 4) for name in names]
    users: list[Feature] = [SequenceFeature("history", 9, 4, shared_with="item")]
    items: list[Feature] = [SparseFeature("item", 9, 4)]
    features += [SequenceFeature(name, 9, 4, padding_idx=0) for name in ("3d", "a b", "a-b")]
    (users if tower == "user" else items).extend(features)
    dims = {"dims": [4]}
    model = DSSM(users, items, user_params=dims, item_params=dims)
    export_tower(model, tmp_path / "x.onnx", tower=tower)
    batch = example_batch(tower_inputs(model, tower))
    batch["a b"] = batch["a b"][:, :3]  # of another width than a-b
    found = Tower(tmp_path / "x.onnx")(batch)
    want = getattr(model.eval(), f"{tower}_tower")(batch).detach().numpy()
    np.testing.assert_allclose(found, want, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "changes"), [("sasrec", {}), ("comirec_dr", {"maps": "position", "interest_num": 2})]
)
@pytest.mark.parametrize("max_len", [1, 2, 3, 4])
def test_a_tower_of_few_items_reads_no_places(
    name: str, changes: dict[str, Any], max_len: int, tiny: MatchData, tmp_path: Path
) -> None:
    model = make_model(name, tiny, max_len=max_len, **changes)
    export_tower(model, tmp_path / "x.onnx", tower="user")
    batch = example_batch(tower_inputs(model, "user"))
    batch["history_length"] = torch.zeros_like(batch["history_length"])
    want = model.eval().user_tower(batch).detach().numpy()
    batch |= {k: t[:, :0] for k, t in batch.items() if k.startswith("history") and t.dim() > 1}
    np.testing.assert_allclose(Tower(tmp_path / "x.onnx")(batch), want, atol=1e-6)


def test_files_name_no_place_of_this_machine(tiny: MatchData, tmp_path: Path) -> None:
    export_tower(make_model("dssm", tiny), tmp_path / "i.onnx", tower="item")
    content = (tmp_path / "i.onnx").read_bytes()
    for trace in (b".py", b"site-packages", str(Path.cwd()).encode(), b"stack_trace"):
        assert trace not in content


def test_weights_beyond_protobuf_stand_in_a_file_of_their_own(
    tiny: MatchData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = make_model("dssm", tiny), tmp_path / "export"
    monkeypatch.setattr(writer, "ONE_FILE", 1024)
    for _ in range(2):  # the second time over the files of the first
        parity, files = bundle.export_towers(
            model, tiny, folder, marks=MARKS, tolerance=1e-4, min_overlap=0.999
        )
        assert parity["overlap"] == 1.0
        assert [file.name for file in files] == [
            "vocabulary.parquet",
            *(f"{side}_tower.onnx{end}" for side in ("user", "item") for end in (".data", "")),
            "inputs.json",
        ]
        assert sorted(folder.iterdir()) == sorted(files)
        assert len({file.stat().st_mode for file in files}) == 1
    export_tower(model, tmp_path / "u.onnx", tower="user")
    assert onnx.load(tmp_path / "u.onnx").graph == onnx.load(folder / "user_tower.onnx").graph


def test_wrong_mode_is_named(tiny: MatchData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="allowed: 'user' or 'item'"):
        export_tower(make_model("dssm", tiny), tmp_path / "x.onnx", tower="users")


def test_a_tower_that_differs_leaves_no_file(
    tiny: MatchData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("youtube_dnn", tiny)
    honest = bundle.export_tower

    def broken(model: object, path: Path, *, tower: str, metadata: dict[str, str]) -> None:
        other = make_model("youtube_dnn", tiny, seed=1)
        honest(other, path, tower=tower, metadata=metadata)

    monkeypatch.setattr(bundle, "export_tower", broken)
    with pytest.raises(GateError, match="vectors differ by"):
        bundle.export_towers(
            model, tiny, tmp_path / "export", marks=MARKS, tolerance=1e-4, min_overlap=0.999
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parity", "message"),
    [
        (Parity(2e-4, 1.0, 9, True), "vectors differ by 2.00e-04, allowed 1e-04"),
        (Parity(float("nan"), 1.0, 9, True), "vectors differ by nan"),
        (Parity(0.0, 0.99, 9, True), "overlap by 0.9900, needed 0.999"),
        (Parity(0.0, 1.0, 9, False), "two runs on one input differ"),
    ],
)
def test_the_gate_closes(parity: Parity, message: str) -> None:
    with pytest.raises(GateError, match=message):
        check_parity(parity, tolerance=1e-4, min_overlap=0.999)


def test_overlap_by_hand() -> None:
    """One of ten top items differs; equal scores may stand in any order."""
    items = np.eye(12, dtype=np.float32)
    first = np.array([[12.0 - n for n in range(12)]], dtype=np.float32)
    swapped = first.copy()
    swapped[0, [0, 11]] = swapped[0, [11, 0]]
    tied = np.ones((1, 12), dtype=np.float32)
    for others, share in ((swapped, 0.9), (tied, 1.0)):
        whole, parts = _TopLists(first, others), _TopLists(first, others)
        whole.add(items, items)
        for start in range(0, 12, 5):  # the catalogue comes in blocks
            parts.add(items[start : start + 5], items[start : start + 5])
        assert whole.overlaps() == parts.overlaps() == pytest.approx([share])


def test_the_gate_reads_the_whole_catalogue(
    tiny: MatchData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks of 7 of its 20 items, of which the last alone is not the model's."""
    from rechub_cli.export import parity

    monkeypatch.setattr(parity, "BLOCK_ROWS", 7)
    model = make_model("mind", tiny)
    for tower in ("user", "item"):
        export_tower(model, tmp_path / f"{tower}_tower.onnx", tower=tower)
    assert compare_towers(model, tiny, tmp_path).max_difference < 1e-5
    own = model.item_tower.forward

    def wrong_at_the_end(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        vectors = own(batch).clone()
        vectors[batch["item_id"] == tiny.encoded.item["item_id"][-2]] += 1
        return vectors

    monkeypatch.setattr(model.item_tower, "forward", wrong_at_the_end)
    assert compare_towers(model, tiny, tmp_path).max_difference == pytest.approx(1, abs=1e-5)


def test_the_gate_opens() -> None:
    check_parity(Parity(1e-4, 0.999, 9, True), tolerance=1e-4, min_overlap=0.999)


def test_a_folder_is_no_file(tiny: MatchData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; give a file: .*user_tower.onnx"):
        export_tower(make_model("dssm", tiny), tmp_path, tower="user")


def test_checkpoint_round_trip_and_damage(tiny: MatchData, tmp_path: Path) -> None:
    model, other = make_model("mind", tiny, seed=0), make_model("mind", tiny, seed=1)
    folder = tmp_path / "best"
    save_checkpoint(folder, model, {"epoch": 3})
    save_checkpoint(folder, model, {"epoch": 4})
    assert [p.name for p in tmp_path.iterdir()] == ["best"]
    assert load_checkpoint(folder, other) == {"epoch": 4}
    modes = {(folder / name).stat().st_mode for name in ("model.safetensors", "state.json")}
    assert len(modes) == 1  # who may read one may read the other
    for a, b in zip(
        [*model.parameters(), *model.buffers()],
        [*other.parameters(), *other.buffers()],
        strict=True,
    ):
        assert torch.equal(a, b)
    with pytest.raises(RechubError, match="other tensors than the model"):
        load_checkpoint(folder, make_model("dssm", tiny))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RechubError, match="damaged"):
        load_checkpoint(folder, other)
    with pytest.raises(RechubError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "nowhere", other)


def test_a_kill_between_the_renames_leaves_a_checkpoint(
    tiny: MatchData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("dssm", tiny)
    save_checkpoint(tmp_path / "last", model, {"epoch": 1})
    real, calls = os.replace, []

    def killed(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "last", model, {"epoch": 2})
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "last", model) == {"epoch": 1}
    save_checkpoint(tmp_path / "last", model, {"epoch": 3})
    assert load_checkpoint(tmp_path / "last", model) == {"epoch": 3}


def test_a_full_disk_leaves_the_checkpoint_that_was_there(
    tiny: MatchData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("dssm", tiny)
    save_checkpoint(tmp_path / "last", model, {"epoch": 1})

    def full(tensors: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("rechub_cli.trainers.checkpoint.save_file", full)
    with pytest.raises(RechubError, match="last was not written: .*No space left.*Make room"):
        save_checkpoint(tmp_path / "last", model, {"epoch": 2})
    assert [file.name for file in tmp_path.iterdir()] == ["last"]
    assert load_checkpoint(tmp_path / "last", model) == {"epoch": 1}

"""One ONNX file a tower: dynamic batch and length, no trace of the machine that wrote it."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from onnx.external_data_helper import set_external_data, write_external_data_tensors
from torch import Tensor, nn

from rechub_cli.errors import ConfigError
from rechub_cli.export.contract import LENGTH, TOWERS, InputSpec, example_batch, tower_inputs
from rechub_cli.features import OUTPUTS
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.suggest import did_you_mean

OPSET = 20
ONE_FILE = 2**31 - 2**20
"""Weights of more bytes stand in a file of their own: protobuf, graph included, ends at 2 GiB."""
SMALL = 1024
"""Tensors of fewer bytes stay in the graph, where shapes are inferred from them."""


class _Positional(nn.Module):
    """A tower that takes its inputs in the order of its contract."""

    def __init__(self, tower: nn.Module, specs: list[InputSpec]) -> None:
        super().__init__()
        self.tower = tower
        self.specs = specs
        # Of no places at all, onnxruntime's GRU would end the process; and a tower that reads the
        # last P + 1 items would be traced, behind P places of padding, as one of always P + 1.
        limits = [getattr(m, "max_len", None) for m in tower.modules()]
        self.padding = 2 if 2 in limits else 1

    def forward(self, *values: Tensor) -> Tensor:
        given = zip(self.specs, values, strict=True)
        out: Tensor = self.tower(
            {s.name: _padded(value, s.axes, self.padding) for s, value in given}
        )
        return out


def _padded(value: Tensor, axes: Sequence[str], places: int) -> Tensor:
    """With so many places of padding behind a history."""
    if LENGTH not in axes:
        return value
    behind = len(axes) - 1 - axes.index(LENGTH)
    return nn.functional.pad(value, [0, 0] * behind + [0, places])


def export_tower(
    model: MatchingModel, path: Path, *, tower: str, metadata: Mapping[str, str] | None = None
) -> None:
    """Write the user or item tower as ONNX (opset 20).

    Inputs: see contract.tower_inputs. Output: ``user_vector`` float32 [B, D] or [B, K, D], or
    ``item_vector`` [B, D]; a plain inner product of the two ranks. metadata: string pairs added
    to the model's own (model, similarity, temperature, vocab sizes). The file appears whole;
    weights of 2 GiB and more stand beside it in ``NAME.data``.
    """
    if tower not in TOWERS:
        raise ConfigError(
            f"mode={tower!r}; allowed: 'user' or 'item'." + did_you_mean(str(tower), TOWERS)
        )
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give a file: {path / f'{tower}_tower.onnx'}")
    specs = tower_inputs(model, tower)
    proto = _trace(model, specs, tower)
    _name_ends(proto.graph, [s.name for s in specs], OUTPUTS[tower])
    _clean(proto)
    pairs = {
        "model": model.name,
        "similarity": model.similarity,
        "temperature": repr(float(model.temperature)),
        **{f"vocab_size.{s.name}": str(s.vocab_size) for s in specs if s.vocab_size is not None},
        **(metadata or {}),
    }
    onnx.helper.set_model_props(proto, dict(sorted(pairs.items())))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        for file in _write(proto, Path(scratch) / path.name):
            os.replace(file, path.with_name(file.name))


def _write(proto: onnx.ModelProto, path: Path) -> list[Path]:
    """Write and check the model at ``path``. Returns its files, the model last."""
    weights = path.with_name(f"{path.name}.data")
    sizes = {tensor.name: len(tensor.raw_data) for tensor in proto.graph.initializer}
    large = sum(sizes.values()) > ONE_FILE
    if large:
        for tensor in proto.graph.initializer:
            if sizes[tensor.name] >= SMALL:
                set_external_data(tensor, weights.name)
        weights.touch()  # onnx itself would make a file that its owner alone may read
        write_external_data_tensors(proto, str(path.parent))
    path.write_bytes(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path), full_check=True)
    return [weights, path] if large else [path]


def _trace(model: MatchingModel, specs: list[InputSpec], tower: str) -> onnx.ModelProto:
    module = _Positional(getattr(model, f"{tower}_tower"), specs)
    training, device = model.training, next(model.parameters()).device
    example = {name: t.to(device) for name, t in example_batch(specs).items()}
    axes = _axes(specs)
    shapes = tuple({i: axes[axis] for i, axis in enumerate(s.axes)} for s in specs)
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                tuple(example.values()),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=(shapes,),
                verbose=False,
            )
    finally:
        quiet.setLevel(level)
        model.train(training)
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    return proto


def _name_ends(graph: onnx.GraphProto, inputs: Sequence[str], output: str) -> None:
    """Name what goes in and comes out. Within, the tracer gives names of its own, which a column
    may have too (cat, linear, val_0): those get a prefix."""
    names = {value.name: name for value, name in zip(graph.input, inputs, strict=True)}
    names[graph.output[0].name] = output
    prefix = "inner."
    while any(name.startswith(prefix) for name in inputs):
        prefix = f"_{prefix}"
    _rename(graph, {"": "", **names}, prefix)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str], prefix: str) -> None:
    """names: old to new; whatever else the graph, or one within it, defines gets the prefix."""
    made = [v.name for v in (*graph.input, *graph.initializer)]
    made += [name for node in graph.node for name in node.output]
    names = {**{name: prefix + name for name in made}, **names}
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = names[value.name]
    for node in graph.node:
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
        for attribute in node.attribute:
            for within in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                _rename(within, names, prefix)


def _axes(specs: list[InputSpec]) -> dict[str, torch.export.Dim]:
    """A dynamic axis by its name in the contract, under one that is a word and no other's."""
    axes: dict[str, torch.export.Dim] = {}
    words: set[str] = set()
    for axis in dict.fromkeys(axis for s in specs for axis in s.axes):
        plain = "".join(c if c.isalnum() else "_" for c in axis)
        word = plain = plain if plain.isidentifier() else f"_{plain}"
        while word in words:
            word += "_"
        words.add(word)
        axes[axis] = torch.export.Dim(word)
    return axes


def _clean(proto: onnx.ModelProto) -> None:
    """Drop what names local files, so that two folders write equal bytes."""
    graph = proto.graph
    for owner in (proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del owner.metadata_props[:]
    for owner in (*graph.initializer, *proto.functions):
        del owner.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
    proto.doc_string = graph.doc_string = ""

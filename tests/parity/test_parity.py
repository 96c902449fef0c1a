"""Our equations against values made by an independent numpy re-implementation.

``reference/`` was written from the papers and the authors' code alone, by somebody who had not
read ours; each file of ``values/`` names its source and its conventions.
B rows, Q queries, K interests, D width.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from rechub_cli.data.interactions import Interactions
from rechub_cli.data.splits import Queries
from rechub_cli.evaluation.baselines import SequentialRules
from rechub_cli.evaluation.diversity import rerank
from rechub_cli.evaluation.metrics import compute_metrics
from rechub_cli.evaluation.ranking import rank_queries
from rechub_cli.features import SequenceFeature, SparseFeature
from rechub_cli.layers.attention import SelfAttentiveInterests
from rechub_cli.layers.capsule import CapsuleRouting, InterestRouting, PositionalRouting
from rechub_cli.layers.mlp import MLP
from rechub_cli.layers.past import PastItems
from rechub_cli.models.matching.causal import CausalModel
from rechub_cli.models.matching.dssm import DSSM
from rechub_cli.models.matching.gru4rec import GRU4Rec
from rechub_cli.models.matching.mind import MIND
from rechub_cli.models.matching.sasrec import SASRec
from rechub_cli.models.matching.youtube_dnn import YoutubeDNN
from rechub_cli.trainers.full_softmax import full_softmax
from rechub_cli.trainers.losses import (
    bce,
    bpr,
    bpr_max,
    gbce_beta,
    logq_scores,
    sampled_softmax,
    weighted_softmax,
)

VALUES = Path(__file__).parent / "values"


def values(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((VALUES / f"{name}.json").read_text())
    return loaded


def real(content: Any) -> Tensor:
    return torch.tensor(content, dtype=torch.float64)


def close(found: Tensor, expected: Any) -> None:
    assert_close(found.detach().double(), real(expected), atol=1e-9, rtol=1e-7)


def fill_mlp(mlp: MLP, layers: list[dict[str, Any]], *, first: list[int] | None = None) -> None:
    """Copy weights; ``first`` permutes the columns of the first layer to our order of inputs."""
    linear = [m for m in mlp.layers if isinstance(m, torch.nn.Linear)]
    assert len(linear) == len(layers)
    with torch.no_grad():
        for number, (module, given) in enumerate(zip(linear, layers, strict=True)):
            weight = real(given["W"])
            module.weight.copy_(weight[:, first] if number == 0 and first else weight)
            module.bias.copy_(real(given["b"]))


def dims(layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"dims": [len(layer["b"]) for layer in layers], "residual": False}


# --- losses


def softmax_case() -> tuple[Tensor, Tensor, dict[str, Any], dict[str, Any]]:
    case = values("softmax_losses")
    inputs = case["inputs"]
    queries = real(inputs["queries"]).requires_grad_()
    table = real(inputs["table"]).requires_grad_()
    return queries, table, inputs, case["expected"]


def test_full_softmax() -> None:
    queries, table, inputs, expected = softmax_case()
    target = torch.tensor(inputs["positives"])
    loss = full_softmax(queries, table, target, temperature=inputs["temperature"])
    loss.backward()  # type: ignore[no-untyped-call]
    want = expected["full_softmax"]
    close(loss, want["loss"])
    assert queries.grad is not None
    assert table.grad is not None
    close(queries.grad, want["grad_queries"])
    close(table.grad, want["grad_table"])


@pytest.mark.parametrize(
    ("name", "candidates", "form"),
    [
        ("in_batch_logq", "batch", "both"),
        ("in_batch_uncorrected", "batch", "none"),
        ("sampled_yi", "drawn", "both"),
        ("sampled_positive_uncorrected", "drawn", "negatives"),
        ("mixed", "mixed", "both"),
    ],
)
def test_sampled_softmax(name: str, candidates: str, form: str) -> None:
    """Every published placement of logQ."""
    queries, table, inputs, expected = softmax_case()
    target, drawn = torch.tensor(inputs["positives"]), torch.tensor(inputs["negatives"])
    in_batch = len(target) * real(inputs["in_batch_probability"])
    sampled = len(drawn) * real(inputs["negative_probability"])
    rows, expect = {
        "batch": (target, in_batch),
        "drawn": (drawn, sampled),
        "mixed": (torch.cat([target, drawn]), in_batch + sampled),
    }[candidates]
    scores = queries @ table.T / inputs["temperature"]
    positive, negative = scores[torch.arange(len(target)), target], scores[:, rows]
    excluded = rows == target.unsqueeze(1)
    if form != "none":
        positive, negative = logq_scores(
            positive,
            negative,
            excluded=excluded,
            form=form,
            positive_count=expect[target],
            negative_count=expect[rows],
        )
    loss = sampled_softmax(positive, negative, excluded=excluded)
    loss.backward()  # type: ignore[no-untyped-call]
    want = expected[name]
    close(loss, want["loss"])
    assert queries.grad is not None
    assert table.grad is not None
    close(queries.grad, want["grad_queries"])
    close(table.grad, want["grad_table"])


@pytest.mark.parametrize("candidates", ["sampled", "in_batch"])
def test_weighted_softmax(candidates: str) -> None:
    queries, table, inputs, expected = softmax_case()
    target, drawn = torch.tensor(inputs["positives"]), torch.tensor(inputs["negatives"])
    rows, share = {
        "sampled": (drawn, real(inputs["negative_probability"])),
        "in_batch": (target, real(inputs["in_batch_probability"])),
    }[candidates]
    scores = queries @ table.T / inputs["temperature"]
    excluded = rows == target.unsqueeze(1)
    positive, negative = logq_scores(
        scores[torch.arange(len(target)), target],
        scores[:, rows],
        excluded=excluded,
        form="weighted",
        positive_count=len(rows) * share[target],
        negative_count=len(rows) * share[rows],
    )
    loss = weighted_softmax(positive, negative, excluded=excluded)
    loss.backward()  # type: ignore[no-untyped-call]
    want = expected[f"new_logq_{candidates}"]
    close(loss, want["loss_with_expected_count"])
    assert queries.grad is not None
    assert table.grad is not None
    close(queries.grad, want["grad_queries"])
    close(table.grad, want["grad_table"])


PAIR_CASES = {
    "bce": lambda inputs: bce,
    "gbce": lambda inputs: partial(
        bce,
        beta=gbce_beta(
            inputs["gbce_t"],
            num_negatives=len(inputs["negatives"][0]),
            num_items=inputs["catalogue_size"],
        ),
    ),
    "bpr": lambda inputs: bpr,
    "bpr_max": lambda inputs: partial(bpr_max, bpreg=inputs["bpreg"]),
    "bpr_max_without_bpreg": lambda inputs: partial(bpr_max, bpreg=0.0),
}


@pytest.mark.parametrize("name", PAIR_CASES)
def test_pair_losses(name: str) -> None:
    case = values("point_pair_losses")
    positive = real(case["inputs"]["positive"]).requires_grad_()
    negatives = real(case["inputs"]["negatives"]).requires_grad_()
    loss = PAIR_CASES[name](case["inputs"])
    value = loss(positive, negatives, excluded=torch.zeros(negatives.shape, dtype=torch.bool))
    value.backward()
    want = case["expected"][name]
    close(value, want["loss"])
    assert positive.grad is not None
    assert negatives.grad is not None
    close(positive.grad, want["grad_positive"])
    close(negatives.grad, want["grad_negatives"])


# --- models


def test_dssm() -> None:
    case = values("dssm")
    inputs, given, want = case["inputs"], case["parameters"], case["expected"]
    model = DSSM(
        [
            SparseFeature("user", len(given["user_table"]), 2),
            SequenceFeature("history", len(given["item_table"]), 3, shared_with="item"),
        ],
        [
            SparseFeature("item", len(given["item_table"]), 3),
            SparseFeature("genre", len(given["genre_table"]), 2),
        ],
        input_dropout=0.0,
        user_params=dims(given["user_mlp"]),
        item_params=dims(given["item_mlp"]),
        temperature=inputs["temperature"],
        pooling="mean",
    ).double()
    tables = model.user_tower.profile.tables.tables
    for name in ("user", "item", "genre"):
        tables[name].weight.data.copy_(real(given[f"{name}_table"]))
    fill_mlp(model.user_tower.mlp, given["user_mlp"])
    fill_mlp(model.item_tower.mlp, given["item_mlp"])
    batch = {k: torch.tensor(inputs[k]) for k in ("user", "history", "history_length")}
    users = model.user_tower(batch)
    items = model.item_tower({k: torch.tensor(inputs[k]) for k in ("item", "genre")})
    close(users, want["user_vectors"])
    close(items, want["item_vectors"])
    scores = model.scores(users, items)
    close(scores, want["scores"])
    scores.sum().backward()  # type: ignore[no-untyped-call]
    close(tables["item"].weight.grad, want["grad_item_table_of_sum_of_scores"])


@pytest.mark.parametrize("pooling", ["mean", "recency"])
def test_youtube_dnn(pooling: str) -> None:
    case = values("youtube_dnn")
    inputs, given, want = case["inputs"], case["parameters"], case["expected"][pooling]
    layers = given[f"{pooling}_mlp"]
    model = YoutubeDNN(
        [
            SparseFeature("user", len(given["user_table"]), 2),
            SequenceFeature("history", len(given["item_table"]), 3, shared_with="item"),
        ],
        [SparseFeature("item", len(given["item_table"]), 3)],
        input_dropout=0.0,
        user_params=dims(layers),
        temperature=1.0,
        similarity="dot",
        pooling=pooling,
        tied=False,
        max_len=inputs["max_len"],
    ).double()
    past = model.user_tower.history.encoder.tables.tables["item"]
    past.weight.data.copy_(real(given["item_table"]))
    tables = model.user_tower.profile.tables.tables
    tables["user"].weight.data.copy_(real(given["user_table"]))
    tables["item"].weight.data.copy_(real(given["output_table"]))
    if pooling == "recency":
        model.user_tower.pooling.recency.data.copy_(real(given["position"]))
    fill_mlp(model.user_tower.mlp, layers)
    batch = {k: torch.tensor(inputs[k]) for k in ("user", "history", "history_length")}
    users = model.user_tower(batch)
    close(users, want["user_vectors"])
    items = model.item_tower({"item": torch.arange(len(given["item_table"]))})
    close(model.scores(users, items), want["scores"])
    users.sum().backward()  # type: ignore[no-untyped-call]
    close(past.weight.grad, want["grad_item_table_of_sum_of_vectors"])
    if pooling == "recency":
        close(model.user_tower.pooling.recency.grad, want["grad_position_of_sum_of_vectors"])


def mind_batch(inputs: dict[str, Any], length: int) -> dict[str, Tensor]:
    history = torch.zeros(1, len(inputs["history"]), dtype=torch.int64)
    history[0, :length] = torch.tensor(inputs["history"][:length])
    return {"history": history, "history_length": torch.tensor([length])}


def set_scale(routing: torch.nn.Module, scale: float) -> None:
    """Of the cosine in the routing."""
    log_scale = routing.agreement.log_scale
    assert isinstance(log_scale, torch.nn.Parameter)
    log_scale.data.fill_(math.log(scale))


def close_scale(routing: torch.nn.Module, scale: float, want: float) -> None:
    """The gradient by the scale, from that by its logarithm; none where one interest is used."""
    gradient = routing.agreement.log_scale.grad
    close(real(0.0) if gradient is None else gradient / scale, want)


@pytest.mark.parametrize("form", ["without_recency", "with_recency", "cosine"])
def test_mind_routing(form: str) -> None:
    case = values("mind")
    inputs, given = case["inputs"], case["parameters"]
    places, expected = len(given["recency"]), case["expected"][form]
    scale = expected["scale"] if form == "cosine" else None
    for want in expected if scale is None else expected["cases"]:
        table = real(given["item_table"]).requires_grad_()
        routing = CapsuleRouting(
            3,
            num_interests=len(given["first_logits"]),
            iterations=3,
            max_len=places,
            recency=form != "without_recency",
            agreement="dot" if scale is None else "cosine",
        ).double()
        if scale is not None:
            set_scale(routing, scale)
        routing.bilinear.weight.data.copy_(real(given["S"]))
        routing.initial_logits.copy_(real(given["first_logits"]))
        if routing.recency is not None:
            routing.recency.data.copy_(real(given["recency"]))
        batch = mind_batch(inputs, want["history_length"])
        interests = routing(PastItems(table[batch["history"]]), batch["history_length"])
        close(interests[0], want["interests"])
        (interests[0] * real(inputs["probe"])).sum().backward()
        # The reference holds the last routing weights constant, and so do we.
        assert table.grad is not None
        close(table.grad[1:], want["grad_item_table"][1:])
        assert routing.bilinear.weight.grad is not None
        close(routing.bilinear.weight.grad, want["grad_S"])
        if routing.recency is not None:
            assert routing.recency.grad is not None
            close(routing.recency.grad, want["grad_recency"])
        if scale is not None:
            close_scale(routing, scale, want["grad_scale"])


@pytest.mark.parametrize("power", [1.0, 2.0, None])
def test_mind_tower_and_label_attention(power: float | None) -> None:
    case = values("mind")
    inputs, given = case["inputs"], case["parameters"]
    model = MIND(
        [
            SparseFeature("user", len(given["user_table"]), 2),
            SequenceFeature("history", len(given["item_table"]), 3, shared_with="item"),
        ],
        [SparseFeature("item", len(given["item_table"]), 3)],
        input_dropout=0.0,
        user_params=dims(given["user_mlp"]),
        temperature=1.0,
        similarity="dot",
        interest_num=len(given["first_logits"]),
        selection="target" if power is None else "mixed",
        label_attention=power,
        max_len=len(given["recency"]),
        agreement="dot",
    ).double()
    tables = model.user_tower.profile.tables.tables
    tables["item"].weight.data.copy_(real(given["item_table"]))
    tables["user"].weight.data.copy_(real(given["user_table"]))
    routing = model.user_tower.interests
    routing.bilinear.weight.data.copy_(real(given["S"]))
    routing.initial_logits.copy_(real(given["first_logits"]))
    routing.recency.data.copy_(real(given["recency"]))
    fill_mlp(model.user_tower.mlp, given["user_mlp"])
    target = real(given["item_table"])[inputs["target"]].unsqueeze(0)
    for want in case["expected"]["with_recency"]:
        batch = mind_batch(inputs, want["history_length"])
        vectors = model.user_tower({**batch, "user": torch.tensor([want["user"]])})
        close(vectors[0], want["mlp_last_layer_linear"])
        past = PastItems(tables["item"](batch["history"]))
        interests = routing(past, batch["history_length"])
        query = model.queries(interests, target)
        close(
            query[0], want["label_aware_inf"] if power is None else want["label_aware"][str(power)]
        )


@pytest.mark.parametrize("bias", [False, True])
def test_comirec_sa(bias: bool) -> None:
    case = values("comirec_sa")
    key = "with_bias" if bias else "without_bias"
    given, inputs = case["parameters"][key], case["inputs"]
    layer = SelfAttentiveInterests(
        len(given["item_table"][0]),
        num_interests=len(given["W2"]),
        hidden_dim=len(given["W1"]),
        max_len=len(given["position_table"]),
    ).double()
    layer.position.data.copy_(real(given["position_table"]))
    layer.scores.weight.data.copy_(real(given["W2"]))
    layer.hidden.weight.data.copy_(real(given["W1"]))
    if bias:
        layer.hidden.bias = torch.nn.Parameter(real(given["b1"]))
    check_interests(layer, given, inputs, case["expected"][key])


@pytest.mark.parametrize("form", ["cases", "cosine", "one_map_dot", "one_map"])
def test_comirec_dr(form: str) -> None:
    case = values("comirec_dr")
    given, expected = case["parameters"], case["expected"][form]
    if form == "cases":
        expected = {"cases": expected}
    maps, scale = real(expected.get("maps", given["maps"])), expected.get("scale")
    kind = InterestRouting if "maps" in expected else PositionalRouting
    for row, want in enumerate(expected["cases"]):
        layer = kind(
            maps.shape[-1],
            num_interests=maps.shape[-3],
            iterations=3,
            max_len=len(given["maps"]),
            agreement="dot" if scale is None else "cosine",
        ).double()
        layer.maps.data.copy_(maps)
        if "recency" in expected:
            layer.recency.data.copy_(real(expected["recency"]))
        if scale is not None:
            set_scale(layer, scale)
        check_interests(layer, given, case["inputs"], {row: want})
        close(layer.maps.grad, want["grad_maps"])
        if "recency" in expected:
            close(layer.recency.grad, want["grad_recency"])
        if scale is not None:
            close_scale(layer, scale, want["grad_scale"])


def check_interests(
    layer: torch.nn.Module, given: dict[str, Any], inputs: dict[str, Any], cases: Any
) -> None:
    """Interests of all rows, and the gradient of the item table row by row."""
    history, lengths = torch.tensor(inputs["history"]), torch.tensor(inputs["history_length"])
    rows = cases if isinstance(cases, dict) else dict(enumerate(cases))
    for row, want in rows.items():
        table = real(given["item_table"]).requires_grad_()
        interests = layer(PastItems(table[history]), lengths)
        close(interests[row], want["interests"])
        (interests[row] * real(inputs["probe"])).sum().backward()
        assert table.grad is not None
        close(table.grad, want["grad_item_table"])


def check_causal(model: CausalModel, case: dict[str, Any], want: dict[str, Any]) -> None:
    """Vectors of every position and of the users, scores, and the gradient of the item table."""
    inputs, given = case["inputs"], case["parameters"]
    table = model.item_tower.encoder.tables.tables["item"].weight
    table.data.copy_(real((given.get("general") or given)["item_table"]))
    batch = {k: torch.tensor(inputs[k]) for k in ("history", "history_length")}
    positions = model.position_vectors(batch)
    for row, states in enumerate(want["hidden"]):
        if states:
            close(positions[row, : len(states)], states)
    users = model.user_tower(batch)
    close(users, want["user_vectors"])
    items = model.item_tower({"item": torch.arange(len(table))})
    close(model.scores(users, items), want["scores"])
    (positions[0] * real(inputs["probe"])).sum().backward()  # type: ignore[no-untyped-call]
    assert table.grad is not None
    close(table.grad, want["grad_item_table_of_row_0"])


def causal_features(given: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    size, dim = len(given["item_table"]), len(given["item_table"][0])
    history = SequenceFeature("history", size, dim, shared_with="item")
    return [history], [SparseFeature("item", size, dim)]


@pytest.mark.parametrize("kind", ["general", "paper", "relative"])
def test_sasrec(kind: str) -> None:
    case = values("sasrec")
    given, want = case["parameters"][kind], case["expected"][kind]
    dim = len(given["item_table"][0])
    model = SASRec(
        *causal_features(given),
        temperature=1.0,
        similarity="dot",
        num_blocks=len(given["blocks"]),
        num_heads=want["heads"],
        hidden_dim=dim,
        dropout=0.0,
        max_len=5,
        positions="relative" if kind == "relative" else "end",
    ).double()
    layer = model.user_tower.sequence
    if kind != "relative":
        layer.position.data.copy_(real(given["position_table"]))
    fill(layer.norm, given["last_norm"])
    for block, weights in zip(layer.blocks, given["blocks"], strict=True):
        fill(block.attention_norm, weights["norm1"])
        fill(block.feed_forward_norm, weights["norm2"])
        stacked = {k: sum((weights[n][k] for n in "qkv"), []) for k in ("weight", "bias")}
        fill(block.query_key_value, stacked)
        fill(block.out, weights["o"])
        if kind == "relative":
            block.distance.data.copy_(real(weights["distance"]))
        for place, weight in zip((0, 2), weights["ffn"], strict=True):
            fill(block.feed_forward[place], {"weight": weight["W"], "bias": weight["b"]})
    check_causal(model, case, want)


@pytest.mark.parametrize("layers", [1, 2])
def test_gru4rec(layers: int) -> None:
    case = values("gru4rec")
    given = case["parameters"]
    model = GRU4Rec(
        *causal_features(given),
        temperature=1.0,
        similarity="dot",
        residual=False,
        num_layers=layers,
        hidden_dim=len(given["item_table"][0]),
        input_dropout=0.0,
        dropout=0.0,
        max_len=5,
    ).double()
    for layer, weights in zip(
        model.user_tower.sequence.layers, given["layers"][:layers], strict=True
    ):
        fill(layer, {f"{name}_l0": value for name, value in weights.items()})
    check_causal(model, case, case["expected"]["one_layer" if layers == 1 else "two_layers"])


def fill(module: torch.nn.Module, weights: dict[str, Any]) -> None:
    for name, value in weights.items():
        module.get_parameter(name).data.copy_(real(value))


# --- metrics and rules


def test_metrics() -> None:
    case = values("metrics")
    queries = case["inputs"]["queries"]
    top_k = case["inputs"]["k"]
    items = [i for q in queries for i in (*q["seen"], *q["targets"])]
    ends = np.cumsum([len(q["seen"]) + len(q["targets"]) for q in queries])
    offsets = np.concatenate([[0], ends])
    history = np.array([len(q["seen"]) for q in queries])
    ranking = rank_queries(
        lambda rows: real([q["scores"] for q in queries[rows]]),
        interactions=Interactions(offsets, np.array(items, dtype=np.int32), num_items=6),
        queries=Queries("test", np.arange(len(queries)), offsets[:-1] + history, offsets[1:]),
        candidates=torch.ones(6, dtype=torch.bool),
        mask_seen=True,
        top_k=top_k,
    )
    split = np.split(ranking.ranks, ranking.target_offsets[1:-1])
    assert [sorted(part.tolist()) for part in split] == case["expected"]["target_ranks"]
    found = compute_metrics(ranking, top_k=top_k, num_items=6)
    for k, means in case["expected"]["mean"].items():
        for name, value in means.items():
            assert found[f"{name}@{k}"] == pytest.approx(value, abs=1e-12), (name, k)


def test_controllable_aggregation() -> None:
    case = values("comirec_sa")
    scores = real([case["inputs"]["aggregation_scores"]] * 2)
    scores[1] = scores[1].flip(0)  # a second query: the same items in the other order
    kinds = torch.tensor([case["inputs"]["aggregation_categories"]] * 2).unsqueeze(-1)
    kinds[1] = kinds[1].flip(0)
    for factor, want in case["expected"]["aggregation"].items():
        found = rerank(scores, kinds, factor=float(factor), k=len(want))
        assert found.tolist() == [want, [scores.shape[1] - 1 - place for place in want]]


def test_sequential_rules() -> None:
    case = values("sequential_rules")
    inputs, want = case["inputs"], case["expected"]
    rows = [*inputs["training_histories"], *inputs["queries"]]
    lengths = np.array([len(r) for r in rows])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    data = Interactions(
        offsets,
        np.array([i for r in rows for i in r], dtype=np.int32),
        num_items=inputs["num_items"],
    )
    trained = len(inputs["training_histories"])
    train_end = np.where(np.arange(len(rows)) < trained, offsets[1:], offsets[:-1])
    rules = SequentialRules.fit(
        data,
        train_end,
        window=inputs["window"],
        history=inputs["last"],
        decay=inputs["decay"],
    )
    asked = np.arange(trained, len(rows))
    queries = Queries("test", asked, offsets[asked + 1], offsets[asked + 1])
    close(rules.scorer(queries)(slice(0, len(asked))), want["scores"])

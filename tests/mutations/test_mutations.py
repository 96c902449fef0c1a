"""One-line faults, each of which the tests must see: `make mutations` (minutes).

Every model has its five: mask, softmax axis, detach, alignment, temperature (GRU4Rec, which has no
softmax of its own, the order of its gates for the axis).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.mutation
ROOT = Path(__file__).resolve().parents[2]
CONTRACT, PARITY, EXPORT = "tests/contract", "tests/parity", "tests/export"
ATTENTION, TRANSFORMER = "layers/attention.py", "layers/transformer.py"
CAUSAL = "models/matching/causal.py"
HISTORY, CAPSULE, BASE = "layers/history.py", "layers/capsule.py", "models/matching/base.py"
LOSSES, LOSSES_TEST = "trainers/losses.py", "tests/trainers/test_losses.py"
SOFTMAX = "trainers/full_softmax.py"
NEGATIVES, NEGATIVES_TEST = "trainers/negatives.py", "tests/trainers/test_negatives.py"
LAYERS = "tests/layers/test_causal_layers.py"
LOADING, LOADING_TEST = "trainers/loading.py", "tests/trainers/test_loading.py"
MLP, PROBES = "layers/mlp.py", "trainers/probes.py"
SANITY_TEST = "tests/trainers/test_sanity.py"
STEPS, COMBINATIONS_TEST = "trainers/steps.py", "tests/trainers/test_combinations.py"
OBJECTIVES = "trainers/objectives.py"


@dataclass(frozen=True)
class Mutation:
    """In ``file`` of the package ``old`` becomes ``new``; ``tests`` (for ``model``) must fail."""

    model: str
    fault: str
    file: str
    old: str
    new: str
    tests: str = PARITY

    def __str__(self) -> str:
        return f"{self.model}-{self.fault}".replace(" ", "_")


SCORES = (") / self.temperature", ") / 1.0")
BPR_MAX = "log_softmax(masked, dim=1)"
RECENT = ("lengths.unsqueeze(-1) - 1 - steps", "steps.expand(len(lengths), -1)")
MUTATIONS = (
    Mutation("dssm", "mask", HISTORY, "weights = mask.to(", "weights = torch.ones_like(mask).to("),
    Mutation(
        "dssm", "softmax axis", HISTORY, "softmax(scores, dim=-1)", "softmax(scores, dim=0)",
        CONTRACT,
    ),
    Mutation(
        "dssm", "detach", HISTORY, "PastItems(torch.cat(parts, dim=-1),",
        "PastItems(torch.cat(parts, dim=-1).detach(),",
    ),
    Mutation(
        "dssm", "gradient of the past", "layers/rows.py", "values_at(weights.flatten(), order)",
        "weights.flatten()", "tests/layers/test_past.py",
    ),
    Mutation(
        "youtube_dnn", "the CPU's memory on a GPU", "layers/rows.py",
        'if places.device.type != "cpu":', "if False:", "tests/trainers/test_other_device.py",
    ),
    Mutation(
        "youtube_dnn", "a gradient divided by 0", "models/matching/base.py", "LEAST_NORM = 1e-2",
        "LEAST_NORM = 1e-12", "tests/trainers/test_loading.py",
    ),
    Mutation(
        "embedding", "padding before ids", "layers/embedding.py",
        "if not is_traced() and not bool(", "if False and not bool(",
        "tests/layers/test_embedding.py",
    ),
    Mutation(
        "embedding", "padding among values", "layers/embedding.py",
        "mask = mask & (ids != feature.padding_idx)", "pass", "tests/layers/test_embedding.py",
    ),
    Mutation(
        "mind", "gradient of rows", "layers/rows.py", "embedding_bag(order, flat,",
        "embedding_bag(order.sort()[0], flat,", "tests/layers/test_rows.py",
    ),
    Mutation(
        "mind", "gradient of pooled rows", "layers/rows.py", 'ctx.mode == "mean"',
        'ctx.mode == "sum"', "tests/layers/test_rows.py",
    ),
    Mutation("dssm", "alignment", HISTORY, *RECENT, CONTRACT),
    Mutation("dssm", "temperature", BASE, *SCORES),
    Mutation(
        "youtube_dnn", "mask", HISTORY, "softmax(scores, dim=-1) * mask", "softmax(scores, dim=-1)"
    ),
    Mutation(
        "youtube_dnn", "softmax axis", HISTORY, "softmax(scores, dim=-1)", "softmax(scores, dim=0)"
    ),
    Mutation(
        "youtube_dnn", "detach", HISTORY, "(batch, self.names, _lead(batch)),",
        "(batch, self.names, _lead(batch)).detach(),",
    ),
    Mutation("youtube_dnn", "alignment", HISTORY, *RECENT),
    Mutation("youtube_dnn", "temperature", BASE, *SCORES, CONTRACT),
    Mutation(
        "mind", "mask", CAPSULE, "strength = mask.to(", "strength = torch.ones_like(mask).to("
    ),
    Mutation(
        "mind", "softmax axis", CAPSULE, "dim=1) * strength.unsq", "dim=2) * strength.unsq"
    ),
    Mutation(
        "mind", "unused interests", CAPSULE, "logits.masked_fill(~used", "logits.masked_fill(used"
    ),
    Mutation(
        "mind", "detach", CAPSULE, "interests = self._interests(logits, strength, mapped)",
        "interests = self._interests(logits, strength, fixed)",
    ),
    Mutation(
        "mind", "scale of the routing", CAPSULE, "self.log_scale.exp() * nearness", "nearness",
        "tests/parity",
    ),
    Mutation(
        "mind", "cosine in the routing", CAPSULE, "nn.functional.normalize(vectors, dim=-1)",
        "vectors", "tests/parity",
    ),
    Mutation(
        "mind", "the scale learns", CAPSULE, "self.log_scale.exp() *",
        "self.log_scale.detach().exp() *", "tests/parity",
    ),
    Mutation(
        "mind", "the scale learns by the last iteration", CAPSULE,
        "logits.detach(), strength.detach(), fixed)", "logits, strength.detach(), fixed)",
        "tests/parity",
    ),
    Mutation(
        "comirec_dr", "the scale learns by the last iteration, one map", CAPSULE,
        "logits.detach(), strength.detach(), fixed, maps", "logits, strength.detach(), fixed, maps",
        "tests/parity",
    ),
    Mutation(
        "comirec_dr", "the scale learns by the last iteration, maps by position", CAPSULE,
        "self._interests(logits.detach(), strength, fixed)",
        "self._interests(logits, strength, fixed)", "tests/parity",
    ),
    Mutation("mind", "alignment", HISTORY, *RECENT),
    Mutation("mind", "temperature", BASE, *SCORES, CONTRACT),
    Mutation(
        "mind", "unused interests", CAPSULE, "interests, interests[:, :1])", "interests, 0.0)"
    ),
    Mutation("mind", "last gradient only", CAPSULE, "fixed = mapped.detach()", "fixed = mapped"),
    Mutation(
        "mind", "hard selection", "models/matching/interests.py", "scores.argmax(dim=1)",
        "scores.argmin(dim=1)",
    ),
    Mutation(
        "comirec_sa", "mask", ATTENTION,
        "scores = scores.masked_fill(~real, torch.finfo(scores.dtype).min)", "pass",
    ),
    Mutation(
        "comirec_sa", "softmax axis", ATTENTION, "softmax(scores, dim=-1)", "softmax(scores, dim=1)"
    ),
    Mutation(
        "comirec_sa", "detach", ATTENTION, "2 * self.hidden(vectors))",
        "2 * self.hidden(vectors.detach()))",
    ),
    Mutation("comirec_sa", "alignment", HISTORY, *RECENT),
    Mutation("comirec_sa", "temperature", BASE, *SCORES, CONTRACT),
    Mutation(
        "comirec_dr", "mask", CAPSULE, "softmax(logits, dim=1) * strength\n",
        "softmax(logits, dim=1)\n",
    ),
    Mutation(
        "comirec_dr", "softmax axis", CAPSULE, "softmax(logits, dim=1) * strength\n",
        "softmax(logits, dim=2) * strength\n",
    ),
    Mutation(
        "comirec_dr", "detach", CAPSULE, "return self._interests(logits, strength, mapped)",
        "return self._interests(logits, strength, fixed)",
    ),
    Mutation(
        "comirec_dr", "mask, one map", CAPSULE, "torch.bmm(share * strength, items)",
        "torch.bmm(share, items)", "tests/layers",
    ),
    Mutation(
        "comirec_dr", "softmax axis, one map", CAPSULE, "share = torch.softmax(logits, dim=1)",
        "share = torch.softmax(logits, dim=2)", "tests/layers",
    ),
    Mutation(
        "comirec_dr", "weights in every iteration", CAPSULE, "strength.detach(), fixed, maps)",
        "strength, fixed, maps)", "tests/layers",
    ),
    Mutation(
        "comirec_dr", "one map starts anywhere", CAPSULE,
        "init_near_identity(self.maps)\n        self.recency",
        "nn.init.xavier_uniform_(self.maps)\n        self.recency",
        "tests/layers",
    ),
    Mutation(
        "comirec_dr", "maps are those of the other form", "models/matching/comirec_dr.py",
        '"interest": InterestRouting', '"interest": PositionalRouting', "tests/contract",
    ),
    Mutation(
        "comirec_dr", "detach, one map", CAPSULE, "strength, items, self.maps)",
        "strength, fixed, self.maps)", "tests/layers",
    ),
    Mutation(
        "comirec_dr", "gradient of all iterations", CAPSULE,
        "fixed, maps = items.detach(), self.maps.detach()", "fixed, maps = items, self.maps",
        "tests/layers",
    ),
    Mutation(
        "comirec_dr", "weights of places", CAPSULE, " * self.recency[position].exp()).uns",
        ").uns", "tests/layers",
    ),
    Mutation(
        "comirec_dr", "map of an agreement", CAPSULE, '"bke,ked->bkd"', '"bke,kde->bkd"',
        "tests/layers",
    ),
    Mutation("comirec_dr", "alignment", HISTORY, *RECENT),
    Mutation("comirec_dr", "temperature", BASE, *SCORES, CONTRACT),
    Mutation("sasrec", "mask", TRANSFORMER, 'bias.masked_fill(apart < 0, float("-inf"))', "bias"),
    Mutation(
        "sasrec", "values start anywhere", TRANSFORMER,
        "init_near_identity(self.query_key_value.weight[2 * dim :])", "pass", LAYERS,
    ),
    Mutation(
        "sasrec", "projection starts anywhere", TRANSFORMER, "init_near_identity(self.out.weight)",
        "pass", LAYERS,
    ),
    Mutation(
        "sasrec", "mask of the paper's form", TRANSFORMER, "is_causal=bias is None",
        "is_causal=False", LAYERS,
    ),
    Mutation(
        "sasrec", "distance", TRANSFORMER, "apart.clamp(min=0), distance",
        "apart.clamp(min=0, max=1), distance",
    ),
    Mutation(
        "columns", "mean", "layers/embedding.py", "mode=feature.pooling", 'mode="sum"',
        "tests/layers",
    ),
    Mutation(
        "sasrec", "softmax axis", TRANSFORMER, "permute(2, 0, 3, 1, 4)", "permute(2, 0, 1, 3, 4)"
    ),
    Mutation(
        "sasrec", "detach", TRANSFORMER, "normed = self.attention_norm(x)",
        "normed = self.attention_norm(x.detach())",
    ),
    Mutation(
        "sasrec", "mask under dropout", TRANSFORMER, ".triu(1)", ".triu(2)", LAYERS,
    ),
    Mutation(
        "sasrec", "dropout of attention", TRANSFORMER,
        "dropout(torch.softmax(scores, dim=-1))",
        "torch.softmax(dropout(scores), dim=-1)", LAYERS,
    ),
    Mutation(
        "sasrec", "distances at the last position", TRANSFORMER, "apart = at.unsqueeze(1) - ",
        "apart = 0 * at.unsqueeze(1) + ", LAYERS,
    ),
    Mutation("sasrec", "alignment", HISTORY, *RECENT),
    Mutation("sasrec", "temperature", BASE, *SCORES, CONTRACT),
    Mutation("gru4rec", "mask", CAUSAL, " * (lengths > 0).view(-1, 1, 1)", "", CONTRACT),
    Mutation(
        "gru4rec", "gate order in ONNX", "layers/gru.py",
        "t[hidden : 2 * hidden], t[:hidden]", "t[:hidden], t[hidden : 2 * hidden]", CONTRACT,
    ),
    Mutation(
        "gru4rec", "detach", CAUSAL, "return past.expand(), lengths",
        "return past.expand().detach(), lengths",
    ),
    Mutation(
        "gru4rec", "gradient of the states", "layers/gru.py", "addcmul_(of_state, kept)",
        "addcmul_(of_state, 1 - kept)", LAYERS,
    ),
    Mutation(
        "gru4rec", "bias of the new state", "layers/gru.py", "= b_state[pair:]", "= 0", LAYERS,
    ),
    Mutation(
        "gru4rec", "alignment", "layers/gru.py", "(lengths - 1).clamp(min=0).unsqueeze(1)",
        "(lengths - lengths).unsqueeze(1)",
    ),
    Mutation(
        "gru4rec", "another user's items", "layers/past.py", "int(place.max()) >= width", "False",
        LAYERS,
    ),
    Mutation("gru4rec", "temperature", BASE, *SCORES, CONTRACT),
    Mutation(
        "schedule", "on from the last epoch", "trainers/match_trainer.py",
        "                load_tensors(self.model, best_tensors)\n", "",
        "tests/trainers/test_course.py",
    ),
    Mutation(
        "optimizer", "auto with clipping", "trainers/options.py", " or clip_norm is not None", "",
        "tests/trainers/test_optimizers.py",
    ),
    Mutation(
        "validation", "all queries", "trainers/match_trainer.py",
        "with_fewer_queries(most_validated(self.valid_queries))", "with_fewer_queries(10**9)",
        "tests/trainers/test_match_trainer.py",
    ),
    Mutation(
        "gru4rec", "residual is lost", "layers/gru.py", "out + self.residual(items)", "out",
        "tests/layers",
    ),
    Mutation(
        "gru4rec", "residual starts anywhere", "layers/gru.py", "nn.init.eye_(", "nn.init.zeros_(",
        "tests/layers",
    ),
    Mutation(
        "gru4rec", "added item is whole", "layers/gru.py", "self._last_states(items), items)",
        "self._last_states(items), vectors)", "tests/layers",
    ),
    Mutation(
        "gru4rec", "added last item is whole", "layers/gru.py", "vectors_at(items, at))",
        "vectors_at(vectors, at))", "tests/layers",
    ),
    Mutation(
        "mind", "an interest of some users", "models/matching/interests.py", ".any(-1).any(0)",
        ".any(-1).all(0)", "tests/models",
    ),
    Mutation(
        "mind", "served by the first interest", BASE,
        "torch.maximum(best[own], interest[own] @ item_vectors.T)", "best[own]", "tests/models",
    ),
    Mutation(
        "loss", "penalty by temperature", STEPS, "options.bpreg * temperature**2", "options.bpreg",
        LOSSES_TEST,
    ),
    Mutation(
        "loss", "padding is an item", SOFTMAX, "products[..., self.real :] = -torch.inf", "pass",
        LOSSES_TEST,
    ),
    Mutation(
        "loss", "a target out of reach", SOFTMAX, "(own < torch.finfo(own.dtype).tiny).any()",
        "False", LOSSES_TEST,
    ),
    Mutation(
        "mlp", "shared input is whole", MLP, "self.input_dropout(shared)", "shared", "tests/layers"
    ),
    Mutation(
        "gru4rec", "oldest items kept", HISTORY, "first = (lengths - max_len)",
        "first = (lengths - lengths)", CONTRACT,
    ),
    Mutation(
        "windows", "target is the query's own item", "data/windows.py",
        "place = first[:, None] + steps", "place = (first[:, None] + steps - 1).clamp(min=0)",
        "tests/data/test_windows.py",
    ),
    Mutation(
        "windows", "a later window's first item from nothing", "data/windows.py",
        "real[:, 0] = first == self.first[user]", "pass", "tests/data/test_windows.py",
    ),
    Mutation(
        "windows", "one first event is no window", "data/windows.py",
        "torch.maximum(self.num_windows, events.clamp(max=1))", "self.num_windows",
        "tests/data/test_windows.py",
    ),
    Mutation(
        "windows", "users without history are not trained", LOADING,
        "first_events = model.reads_users", "first_events = False",
        "tests/trainers/test_loading.py",
    ),
    Mutation(
        "windows", "cut alike at every epoch", "data/windows.py", "* (slack + 1)", "* 0",
        "tests/data/test_windows.py",
    ),
    Mutation(
        "loss", "gradient to the first interest", "trainers/full_softmax.py",
        "products.ge_(logits.unsqueeze(1))", "products.zero_()[:, 0] = 1",
        "tests/trainers/test_losses.py",
    ),
    Mutation(
        "optimizer", "rows looked up twice", "trainers/optimizers.py", "total[rows].sqrt()",
        "total[rows]", "tests/trainers/test_optimizers.py",
    ),
    Mutation(
        "dropout", "no scale", "layers/dropout.py", "(65536 / (65536 - self.threshold))", "1.0",
        "tests/layers",
    ),
    Mutation(
        "loss", "full softmax axis", SOFTMAX, "torch.softmax(logits, dim=1)",
        "torch.softmax(logits, dim=0)",
    ),
    Mutation(
        "loss", "accidental hits", LOSSES,
        "negative = negative.masked_fill(excluded, -torch.inf)", "pass",
    ),
    Mutation(
        "loss", "logQ sign", LOSSES, "scores - expected_count.clamp(",
        "scores + expected_count.clamp(",
    ),
    Mutation(
        "loss", "logQ of a share too small", LOSSES, "expected_count.clamp(min=least).log()",
        "expected_count.log()", "tests/trainers/test_losses.py",
    ),
    Mutation("loss", "gBCE's positive", LOSSES, "(beta * softplus", "(softplus"),
    Mutation("loss", "gBCE's calibration", LOSSES, "1 - t * (1 - alpha)", "1 - t * alpha"),
    Mutation("loss", "BPR-max weights' axis", LOSSES, BPR_MAX, "log_softmax(masked, dim=0)"),
    Mutation("loss", "BPR-max weights' gradient", LOSSES, BPR_MAX, BPR_MAX + ".detach()"),
    Mutation(
        "loss", "BPR-max accidental hits", LOSSES,
        "negative.masked_fill(excluded & ~alone, -torch.inf)", "negative", LOSSES_TEST,
    ),
    Mutation("loss", "BPR-max penalty", LOSSES, "negative.square()", "negative"),
    Mutation("loss", "Yi's positive", LOSSES, "corrected(positive, positive_count)", "positive"),
    Mutation("loss", "weighted logQ's stop", LOSSES, "sigmoid().detach()", "sigmoid()"),
    Mutation("loss", "weighted logQ's others", LOSSES, "(min=1) / others", "(min=1)"),
    Mutation(
        "sampler", "hard takes the excluded", NEGATIVES, ".masked_fill(excluded, -torch.inf)", "",
        NEGATIVES_TEST,
    ),
    Mutation(
        "sampler", "hard counts the excluded", NEGATIVES, "excluded.gather(1, chosen)",
        "torch.zeros_like(chosen, dtype=torch.bool)", NEGATIVES_TEST,
    ),
    Mutation(
        "sampler", "hard takes the lowest", NEGATIVES, "dim=1).indices",
        "dim=1, largest=False).indices", NEGATIVES_TEST,
    ),
    Mutation(
        "sampler", "a pool repeats items", NEGATIVES, "replace=False", "replace=True",
        NEGATIVES_TEST,
    ),
    Mutation("sampler", "popularity's power", NEGATIVES, " ** alpha", "", NEGATIVES_TEST),
    Mutation(
        "sampler", "expected count of mixed", NEGATIVES, 'if self.kind in ("in_batch", "mixed")',
        'if self.kind == "in_batch"', NEGATIVES_TEST,
    ),
    Mutation(
        "sampler", "in-batch count", NEGATIVES, "min(batch_size, IN_BATCH_LIMIT)", "batch_size",
        NEGATIVES_TEST,
    ),
    Mutation(
        "sampler", "known pairs", STEPS, '"known" if options.sampler', '"none" if options.sampler',
        COMBINATIONS_TEST,
    ),
    Mutation(
        "sampler", "repeats stay seen", STEPS, '"seen" if mask_seen else "none"', '"seen"',
        COMBINATIONS_TEST,
    ),
    Mutation(
        "sampler", "one seen item stays", NEGATIVES, "values_at(self.before, batch.event)",
        "values_at(self.before, batch.event) - 1", NEGATIVES_TEST,
    ),
    Mutation(
        "loss", "a target seen before is lost", SOFTMAX,
        "products[row, :, target] = own", "pass", LOSSES_TEST,
    ),
    Mutation(
        "loss", "an item drawn twice counts once", OBJECTIVES, "minlength=len(rows)).log()",
        "minlength=len(rows)).clamp(max=1).log()", COMBINATIONS_TEST,
    ),
    Mutation(
        "loss", "logQ of a draw", OBJECTIVES, "corrected(times, expected)", "times",
        COMBINATIONS_TEST,
    ),
    Mutation(
        "loss", "logQ of a draw's target", OBJECTIVES, "values_at(expected, own)",
        "torch.ones(len(own))", COMBINATIONS_TEST,
    ),
    Mutation("loss", "excluded of one interest", SOFTMAX, "cell += width", "pass", LOSSES_TEST),
    Mutation(
        "sampler", "logQ by default", STEPS, '"negatives" if softmax and not hard else "none"',
        '"none"', COMBINATIONS_TEST,
    ),
    Mutation("mlp", "residual is lost", MLP, "if self.residual is None", "if True", "tests/layers"),
    Mutation("mlp", "input is whole", MLP, "x = self.input_dropout(x)", "pass", "tests/layers"),
    Mutation("mlp", "numbers shift the rest", MLP, " * (width > 1)", "", "tests/layers"),
    Mutation(
        "mlp", "parts side by side", MLP, "torch.cat(starts, dim=1)",
        "torch.eye(sizes[-1], sizes[0])", "tests/layers",
    ),
    Mutation(
        "mind", "map starts anywhere", CAPSULE, "init_near_identity(self.bilinear.weight)",
        "nn.init.xavier_uniform_(self.bilinear.weight)", "tests/layers",
    ),
    Mutation(
        "comirec_dr", "maps start anywhere", CAPSULE,
        "dim))\n        init_near_identity(self.maps)\n\n",
        "dim))\n        nn.init.xavier_uniform_(self.maps)\n\n", "tests/layers",
    ),
    Mutation(
        "sanity", "repeats go to others", PROBES,
        "torch.where(before[0] | before[1], target, other)", "other", SANITY_TEST,
    ),
    Mutation(
        "sanity", "repeats of the other", PROBES, "before[0] | before[1]", "before[0]", SANITY_TEST
    ),
    Mutation(
        "sanity", "the future is before", PROBES, "gather.known_before[batch.event].tolist()",
        "gather.known_before[gather.offsets[batch.user + 1]].tolist()", SANITY_TEST,
    ),
    Mutation(
        "loading", "empty histories", LOADING,
        "first_events = model.reads_users", "first_events = True", LOADING_TEST,
    ),
    Mutation(
        "loading", "long histories", LOADING, "sparse and data.mean_history <= SHORT", "sparse",
        LOADING_TEST,
    ),
    Mutation("loading", "dense data", LOADING, "sparse and data.mean", "data.mean", LOADING_TEST),
    Mutation(
        "options", "auto compares with all", "trainers/options.py",
        "if num_items <= MOST_COMPARED:", "if True:", COMBINATIONS_TEST,
    ),
    Mutation(
        "options", "auto anneals", "trainers/rules.py", "return ANNEAL if sized and",
        "return 'constant' if sized and", "tests/trainers/test_course.py",
    ),
    Mutation(
        "trainer", "the rest of an epoch", "trainers/updates.py",
        "self.accumulate / self.batches", "1.0", "tests/trainers/test_match_trainer.py",
    ),
    Mutation(
        "data", "weights in the fingerprint", "fingerprint.py", "else [interactions.weights]",
        "else []", "tests/data/test_encode.py",
    ),
    Mutation(
        "data", "slips in numbers", "data/scaling.py", "away.clip(-FURTHEST, FURTHEST)", "away",
        "tests/data/test_encode.py",
    ),
    Mutation(
        "data", "huge numbers", "data/scaling.py", "np.ldexp(seen, -exponent)", "seen",
        "tests/data/test_encode.py",
    ),
    Mutation(
        "data", "names are taken", "data/names.py", "taken |= keys", "pass",
        "tests/data/test_names.py",
    ),
    Mutation(
        "data", "kinds of held-out rows", "data/kinds.py",
        "values.filter(pa.array(counts > 0))", "values", "tests/data/test_leakage.py",
    ),
    Mutation(
        "data", "another vocabulary", "data/encoded.py",
        "known is None or not vocabulary.values.equals(known.values)", "known is None",
        "tests/trainers/test_match_trainer.py",
    ),
    Mutation(
        "export", "the first block alone", "export/parity.py",
        "range(0, len(data.catalogue), BLOCK_ROWS)", "range(0, BLOCK_ROWS, BLOCK_ROWS)",
        "tests/export/test_export.py",
    ),
    Mutation(
        "export", "ids of a vocabulary", "export/inputs.py", "arange(FIRST, vocabulary.size)",
        "arange(FIRST - 1, vocabulary.size - 1)", "tests/export/test_inputs.py",
    ),
    Mutation(
        "export", "names of the tracer's", "export/onnx.py", "{name: prefix + name for",
        "{name: name for", "tests/export/test_export.py",
    ),
    Mutation(
        "unseen", "seen targets", "evaluation/unseen.py",
        "np.isin(asked, seen)", "np.isin(seen, asked)", "tests/evaluation",
    ),
    Mutation(
        "options", "gBCE's sampler", "trainers/rules.py",
        'loss == "gbce" and sampler != "uniform"', "False", COMBINATIONS_TEST,
    ),
    Mutation(
        "trainer", "best is a copy", "trainers/checkpoint.py",
        ".clone(memory_format=torch.contiguous_format)", "", "tests/trainers",
    ),
    Mutation(
        "ranking", "ties against", "evaluation/ranking.py",
        "others.numpy() >= mine", "others.numpy() > mine", "tests/evaluation",
    ),
    Mutation(
        "ranking", "groups of a large catalogue", "evaluation/ranking.py",
        "columns = torch.cat([columns, rest], dim=1)", "pass", "tests/evaluation",
    ),
    Mutation(
        "export", "machine's paths", "export/onnx.py", "    _clean(proto)\n", "", EXPORT
    ),
)  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_fault_turns_a_test_red(mutation: Mutation, tmp_path: Path) -> None:
    for folder in ("rechub_cli", "conf", "tests"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    file = tmp_path / "rechub_cli" / mutation.file
    text = file.read_text()
    assert mutation.old in text, "the line has changed: renew the mutation"
    file.write_text(text.replace(mutation.old, mutation.new))
    chosen = [] if mutation.tests != CONTRACT else ["-k", mutation.model]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", mutation.tests, *chosen],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, f"not seen:\n{done.stdout[-2000:]}"

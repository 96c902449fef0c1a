"""Training windows: the whole history, each event predicted once, from what stands before it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.testing import assert_close

from rechub_cli.data.batches import padded_width, query_batches
from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.raw import RawData
from rechub_cli.data.vocabulary import FIRST
from rechub_cli.evaluation.model_scores import user_vectors
from tests.contract.conftest import make_model
from tests.data import history_ids

LENGTHS = [1, 2, 3, 4, 6, 7, 8, 12, 13, 14, 30, 31]
MAX_LEN = 5


def data(*, max_len: int = MAX_LEN, context: bool = False, weight: bool = False) -> MatchData:
    """Users of many lengths; item n of the file is named by its place, so that each is unique."""
    users = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    place = np.concatenate([np.arange(n) for n in LENGTHS])
    # Items repeat over users, so that most are trained.
    columns = {"user": users, "item": place % 11, "timestamp": place}
    if context:
        columns["hour"] = place % 7
    if weight:
        columns["weight"] = 1.0 + place
    return prepare(
        RawData(
            pa.table(columns),
            users=pa.table({"user": np.arange(12), "town": np.arange(12) % 3}),
        ),
        split=SplitOptions(),
        features=FeatureOptions(max_len=max_len, oov_share=0.0),
        embed_dim=16,
        seed=0,
    )


@pytest.mark.parametrize("first_events", [False, True])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_every_training_event_is_predicted_once(epoch: int, first_events: bool) -> None:
    """A user's first one where it is asked for."""
    prepared = data()
    loader = prepared.window_loader(batch_size=3, seed=1, first_events=first_events)
    targets = torch.cat([b.target for b in loader.epoch(epoch)])
    users = torch.cat([b.user for b in loader.epoch(epoch)])
    wanted = []
    for user, start in enumerate(prepared.interactions.offsets[:-1]):
        begin = start if first_events else start + 1
        own = prepared.interactions.items[begin : prepared.split.train_end[user]]
        wanted += [(user, int(i)) for i in own]
    assert sorted(zip(users.tolist(), targets.tolist(), strict=True)) == sorted(wanted)
    assert loader.num_rows == len(wanted)


@pytest.mark.parametrize("first_events", [False, True])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_query_sees_only_what_stands_before_its_target(epoch: int, first_events: bool) -> None:
    prepared = data()
    items, offsets = prepared.interactions.items.astype(np.int64), prepared.interactions.offsets
    ids = prepared.encoded.item["item_id"]
    loader = prepared.window_loader(batch_size=3, seed=1, first_events=first_events)
    batches = list(loader.epoch(epoch))
    assert len(batches) == len(loader)
    for batch in batches:
        history, length = history_ids(batch.features), batch.features["history_length"]
        assert int(length.max()) <= history.shape[1] <= MAX_LEN
        assert batch.position is not None
        for query, target, user in zip(batch.position, batch.target, batch.user, strict=True):
            row, column = divmod(int(query), history.shape[1] + first_events)
            count = column if first_events else column + 1  # items that the query reads
            assert count <= length[row]
            own = items[offsets[user] : prepared.split.train_end[user]]
            seen = history[row, :count].tolist()
            places = [p for p in range(not first_events, len(own)) if own[p] == target]
            if not count:
                assert 0 in places
                continue
            before = [ids[own[max(p - len(seen), 0) : p]].tolist() for p in places]
            assert seen in before


def test_cuts_differ_by_epoch_and_repeat_by_seed() -> None:
    prepared = data()
    loader = prepared.window_loader(batch_size=100, seed=1)

    def windows(epoch: int) -> list[tuple[int, ...]]:
        (batch,) = loader.epoch(epoch)
        return sorted(tuple(row) for row in history_ids(batch.features).tolist())

    assert windows(1) == windows(1)
    assert windows(1) != windows(2)


def test_a_history_that_fits_is_one_window() -> None:
    prepared = data(max_len=100)
    (batch,) = prepared.window_loader(batch_size=100, seed=0).epoch(1)
    # The last two events are held out where a user has three, and the first is no target.
    lengths = [n - 3 for n in LENGTHS if n > 3] + [1]
    assert sorted(batch.features["history_length"].tolist()) == sorted(lengths)


@pytest.mark.parametrize("first_events", [False, True])
def test_context_and_weight_are_those_of_the_target(first_events: bool) -> None:
    prepared = data(context=True, weight=True)
    loader = prepared.window_loader(batch_size=100, seed=0, first_events=first_events)
    (batch,) = loader.epoch(1)
    assert batch.position is not None
    assert batch.weight is not None
    hours = batch.features["hour"].flatten()[batch.position]
    place = batch.weight.long() - 1
    items = prepared.catalogue.ids.to_pylist()
    assert [items[t] for t in batch.target.tolist()] == (place % 11).tolist()
    known = prepared.encoded.vocabularies["hour"].values.to_pylist()
    assert [known[h - FIRST] for h in hours.tolist()] == (place % 7).tolist()
    assert batch.features["town"].shape == batch.features["hour"].shape


@pytest.mark.parametrize(("max_rows", "max_positions"), [(1, 100), (100, 8), (5, 1000)])
def test_query_batches_cover_all_longest_first(max_rows: int, max_positions: int) -> None:
    prepared = data()
    test = prepared.split.test
    batches = list(
        query_batches(prepared.gather, test, max_rows=max_rows, max_positions=max_positions)
    )
    order = torch.cat([rows for rows, _ in batches])
    assert sorted(order.tolist()) == list(range(len(test)))
    lengths = torch.cat([features["history_length"] for _, features in batches]).tolist()
    assert len(set(lengths)) > 2
    assert lengths == sorted(lengths, reverse=True)
    whole = prepared.gather(torch.from_numpy(test.user), torch.from_numpy(test.history_end))
    assert lengths == whole["history_length"][order].tolist()
    for rows, features in batches:
        assert len(rows) <= max_rows
        assert len(rows) == 1 or features["history_index"].numel() <= max_positions


def test_users_of_unlike_histories_keep_their_places() -> None:
    """They are encoded by length; each vector must come back to its own query."""
    prepared = data()
    test, model = prepared.split.test, make_model("youtube_dnn", prepared).eval()
    found = user_vectors(model, prepared, test)
    for query in range(len(test)):
        alone = prepared.gather(
            torch.from_numpy(test.user[[query]]), torch.from_numpy(test.history_end[[query]])
        )
        assert_close(found[query], model.user_tower(alone)[0])


@pytest.mark.parametrize(
    ("longest", "width"), [(0, 2), (1, 2), (3, 4), (15, 16), (16, 16), (17, 24), (49, 50), (90, 50)]
)
def test_short_histories_are_padded_little_and_long_ones_to_few_widths(
    longest: int, width: int
) -> None:
    lengths = torch.tensor([0, longest])
    assert padded_width(lengths.clamp(max=50), max_len=50) == width

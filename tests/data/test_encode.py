"""Vocabularies, scales and batches: fitted on training rows, gathered without a loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import torch

from rechub_cli.data.batches import HistoryGather, replace_by_oov
from rechub_cli.data.dataset import MatchData, SplitOptions, prepare
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.filters import FilterOptions
from rechub_cli.data.kinds import guess_kind
from rechub_cli.data.raw import RawData
from rechub_cli.data.scaling import FURTHEST
from rechub_cli.data.vocabulary import OOV, Vocabulary
from rechub_cli.errors import ConfigError, DataError
from rechub_cli.features import DenseFeature, FeatureSchema, SequenceFeature, SparseFeature
from rechub_cli.fingerprint import data_hash
from tests.data import history_ids

USERS = [1] * 5 + [2] * 4 + [3] * 2
ITEMS = list("abcde") + list("bace") + ["f", "a"]


def raw(**tables: pa.Table) -> RawData:
    events = pa.table({"user": USERS, "item": ITEMS, "timestamp": list(range(11))})
    return RawData(events, **tables)


def data(
    options: FeatureOptions | None = None, *, split: SplitOptions | None = None, **tables: pa.Table
) -> MatchData:
    return prepare(
        raw(**tables),
        split=split or SplitOptions(),
        features=options or FeatureOptions(oov_share=0.0),
        embed_dim=4,
        seed=0,
    )


def items_table(**columns: list[object]) -> pa.Table:
    return pa.table({"item": list("abcdefg"), **columns})


def test_vocabulary_by_hand() -> None:
    values = pa.array(["b", "a", "b", None, "c"])
    vocabulary = Vocabulary.fit(values, torch.tensor([1, 1, 1, 9, 0]).numpy(), min_count=1)
    assert vocabulary.values.to_pylist() == ["a", "b"]
    assert vocabulary.size == 4
    assert vocabulary.encode(pa.array(["a", "b", "c", None])).tolist() == [2, 3, 1, 1]
    twice = Vocabulary.fit(values, torch.tensor([1, 1, 1, 9, 0]).numpy(), min_count=2)
    assert twice.values.to_pylist() == ["b"]


def test_only_training_rows_make_a_vocabulary() -> None:
    """d and e are targets only: they are in the catalogue, and unknown."""
    found = data(items=items_table(colour=list("rrgbygr")))
    assert found.catalogue.ids.to_pylist() == list("abcdefg")
    ids = found.encoded.item["item_id"]
    assert [bool(i >= 2) for i in ids[:-1]] == [True, True, True, False, False, True, False]
    assert found.encoded.vocabularies["colour"].values.to_pylist() == ["g", "r"]
    # d (b) and e (y) have nothing that is known; g (r) has a known colour.
    assert found.candidates.tolist() == [True, True, True, False, False, True, True]


def test_without_features_an_untrained_item_is_no_candidate() -> None:
    assert data().candidates.tolist() == [True, True, True, False, False, True]


def test_unknown_items_are_dropped_from_histories() -> None:
    found = data()
    gather = HistoryGather(found.interactions, found.encoded, max_len=3)
    test = found.split.test
    batch = gather(torch.from_numpy(test.user), torch.from_numpy(test.history_end))
    # user 1: a b c d | e, d is unknown; user 2: b a c | e
    known = {raw_id: row + 2 for row, raw_id in enumerate("abcf")}
    assert history_ids(batch).tolist() == [[known[i] for i in "abc"], [known[i] for i in "bac"]]
    assert batch["history_length"].tolist() == [3, 3]
    short = HistoryGather(found.interactions, found.encoded, max_len=2)
    batch = short(torch.from_numpy(test.user), torch.from_numpy(test.history_end))
    assert history_ids(batch).tolist() == [[known["b"], known["c"]], [known["a"], known["c"]]]


def test_an_empty_history_has_length_0() -> None:
    found = data()
    batch = found.gather(torch.tensor([0, 2]), torch.tensor([0, 9]))
    assert batch["history_length"].tolist() == [0, 0]
    assert not batch["history"].any()


def test_dense_columns_are_standardised_on_training_rows() -> None:
    users = pa.table({"user": [1, 2, 3], "age": [10.0, 40.0, None]})
    found = data(users=users)
    scale = found.encoded.scales["age"]
    # training events: 3 of user 1, 2 of user 2, 2 of user 3, whose value is missing
    assert scale.mean == pytest.approx((3 * 10 + 2 * 40) / 5)
    assert scale.flag
    age = found.encoded.user["age"]
    assert age[2] == 0.0
    assert age[0].item() == pytest.approx((10 - 22) / scale.std)
    assert found.encoded.user["age_missing"].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_a_number_that_does_not_vary_in_training_says_nothing_of_a_cold_item() -> None:
    """d, e and g have no training event; the mean of seven times 0.1 is not quite 0.1."""
    found = data(items=items_table(price=[0.1, 0.1, 0.1, 0.2, 0.2, 0.1, None]))
    assert found.encoded.item["price"].tolist() == [0.0] * 8
    assert found.candidates.tolist() == [True, True, True, False, False, True, False]
    assert [n for n in found.encoded.notes if n.startswith("price: 0.1 in every training row")]


def test_a_small_variation_counts() -> None:
    """Times a second apart, in seconds since 1970."""
    found = data(items=items_table(added=[1.7e9 + n for n in range(7)]))
    std = found.encoded.scales["added"].std
    assert 1 < std < 2
    assert found.encoded.item["added"][:2].diff().item() == pytest.approx(1 / std)


def test_a_slip_in_a_number_ends_neither_the_column_nor_the_run() -> None:
    """d, e and g have no training event; squares of 1e200 are no float64."""
    found = data(items=items_table(price=[1.0, 2.0, 3.0, 1e300, -1e308, 2.0, None]))
    price = found.encoded.item["price"]
    assert price[[3, 4]].tolist() == [FURTHEST, -FURTHEST]
    assert price[:3].abs().max() < 3
    huge = data(items=items_table(price=[1e200 * x for x in range(7)])).encoded
    plain = data(items=items_table(price=[float(x) for x in range(7)])).encoded
    torch.testing.assert_close(huge.item["price"], plain.item["price"])
    assert huge.scales["price"].varies


def test_multi_valued_columns_are_padded_with_lengths() -> None:
    tags = [["x", "y"], ["y"], [], ["x"], None, ["z", "x"], ["q"]]
    found = data(items=items_table(tags=tags))
    assert found.encoded.vocabularies["tags"].values.to_pylist() == ["x", "y", "z"]
    assert found.encoded.item["tags"].tolist() == [
        [2, 3], [3, 0], [0, 0], [2, 0], [0, 0], [4, 2], [0, 0], [0, 0],
    ]  # fmt: skip
    assert found.encoded.item["tags_length"].tolist() == [2, 1, 0, 1, 0, 2, 0, 0]
    batch = found.gather(torch.tensor([1]), torch.tensor([8]))
    whole = HistoryGather(found.interactions, found.encoded, max_len=50, distinct=False)
    plain = whole(torch.tensor([1]), torch.tensor([8]))
    index = batch["history_index"]
    assert torch.equal(batch["history_tags"][index], plain["history_tags"])
    assert plain["history_tags"][:, :3].tolist() == [[[3, 0], [2, 3], [0, 0]]]
    assert plain["history_tags_length"][:, :3].tolist() == [[1, 2, 0]]


def test_a_few_long_lists_make_no_huge_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """a has 40 tags, all others none: 7 rows of 40 places with 40 values."""
    tags = items_table(tags=[[f"t{n}" for n in range(40)], *[[]] * 6])
    monkeypatch.setattr("rechub_cli.data.padded.CELLS", 7 * 40)
    assert data(items=tags).encoded.item["tags"].shape == (8, 40)
    monkeypatch.setattr("rechub_cli.data.padded.CELLS", 7 * 40 - 1)
    assert data(items=tags).encoded.item["tags"].shape == (8, 40)  # 1 of 7 in use
    monkeypatch.setattr("rechub_cli.data.padded.FILLED", 0.2)
    with pytest.raises(DataError, match=r"tags: the row of 'a' has .* 40 known .*features.exclude"):
        data(items=tags)


def test_kinds_are_guessed_and_can_be_overruled() -> None:
    """Of ten users, who take three items of their own and two more, all 30 items are trained."""
    names = [f"x{i}" for i in range(30)]
    table = pa.table(
        {
            "item": names,
            "year": [1990, 1991] * 15,
            "title": [f"film {i}" for i in range(30)],
            "price": [1.0, 2.0, 3.0] * 10,
        }
    )
    taken = [names[(3 * user + step) % 30] for user in range(10) for step in range(5)]
    users = [user for user in range(10) for _ in range(5)]
    events = pa.table({"user": users, "item": taken, "timestamp": list(range(50))})

    def of(options: FeatureOptions) -> MatchData:
        raw = RawData(events, items=table)
        return prepare(raw, split=SplitOptions(), features=options, embed_dim=4, seed=0)

    found = of(FeatureOptions())
    kinds = {f.name: type(f) for f in found.encoded.schema.item_features}
    assert kinds == {"item_id": SparseFeature, "year": SparseFeature, "price": DenseFeature}
    assert "title: left out" in found.encoded.notes[0]
    found = of(FeatureOptions(types={"year": "dense", "title": "sparse"}, exclude=("price",)))
    kinds = {f.name: type(f) for f in found.encoded.schema.item_features}
    assert kinds == {"item_id": SparseFeature, "year": DenseFeature, "title": SparseFeature}
    with pytest.raises(ConfigError, match="Did you mean 'price'"):
        of(FeatureOptions(exclude=("prise",)))


@pytest.mark.parametrize(
    ("make", "wrong", "message"),
    [
        (FeatureOptions, {"types": {"year": "spares"}}, r"types\['year'\]='spares'; .*'sparse'"),
        (FeatureOptions, {"pooling": "maen"}, "pooling='maen'; .* Did you mean 'mean'"),
        (FeatureOptions, {"max_len": 0}, "max_len=0 is no integer >= 1"),
        (FeatureOptions, {"min_count": True}, "min_count=True is no integer >= 1"),
        (FeatureOptions, {"oov_share": 2}, "oov_share=2 is no number >= 0 and < 1"),
        (FeatureOptions, {"exclude": "price"}, "exclude is a str; needed: a list of columns"),
        (FeatureOptions, {"history_columns": "year"}, "history_columns is a str; needed: a list"),
        (FeatureOptions, {"types": ["year"]}, "types is a list; needed: a dict"),
        (
            FeatureOptions,
            {"types": {"year": "dense"}, "exclude": ["year"]},
            r"exclude=\['year'\] leaves out year, for which types has a kind",
        ),
        (FilterOptions, {"duplicates": "fisrt"}, "duplicates='fisrt'; .* Did you mean 'first'"),
        (FilterOptions, {"min_user_events": "5"}, "min_user_events='5' is no integer >= 0"),
        (FilterOptions, {"min_item_events": -1}, "min_item_events=-1 is no integer >= 0"),
    ],
)
def test_options_take_what_the_shell_takes(
    make: Callable[..., object], wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**wrong)


def test_training_samples_are_every_training_event_once() -> None:
    found = data()
    loader = found.train_loader(batch_size=3, seed=0)
    seen = sorted(
        (int(u), int(t), int(n))
        for batch in loader.epoch(1)
        for u, t, n in zip(batch.user, batch.target, batch.features["history_length"], strict=True)
    )
    # user 1: a b c; user 2: b a; user 3: f a (two events: it trains only)
    assert seen == [(0, 0, 0), (0, 1, 1), (0, 2, 2), (1, 0, 1), (1, 1, 0), (2, 0, 1), (2, 5, 0)]


def test_epochs_are_a_function_of_seed_and_number() -> None:
    loader = data().train_loader(batch_size=2, seed=5)
    one, again, other = ([b.target.tolist() for b in loader.epoch(e)] for e in (1, 1, 2))
    assert one == again
    assert one != other


def test_oov_is_trained_at_its_share() -> None:
    ids = torch.arange(20_000) % 50
    replaced = replace_by_oov(ids, 0.1, torch.Generator().manual_seed(0))
    changed = replaced != ids
    assert changed.float().mean().item() == pytest.approx(0.1 * 48 / 50, abs=0.01)
    assert (replaced[changed] == OOV).all()
    assert (replaced[ids == 0] == 0).all()


def test_weights_travel_with_their_event() -> None:
    events = pa.table(
        {
            "user": USERS,
            "item": ITEMS,
            "timestamp": list(range(11)),
            "weight": [float(i) for i in range(11)],
        }
    )
    found = prepare(
        RawData(events), split=SplitOptions(), features=FeatureOptions(), embed_dim=4, seed=0
    )
    for batch in found.train_loader(batch_size=2, seed=0).epoch(1):
        assert batch.weight is not None
        for user, target, weight in zip(batch.user, batch.target, batch.weight, strict=True):
            row = [i for i in range(11) if USERS[i] == user + 1 and ITEMS[i] == "abcdef"[target]]
            assert weight == row[0]


def test_weights_are_in_the_fingerprint() -> None:
    hashes = set()
    for last in (None, 1.0, 2.0):
        columns = {"user": USERS, "item": ITEMS, "timestamp": list(range(11))}
        weight = {} if last is None else {"weight": [1.0] * 10 + [last]}
        hashes.add(
            data_hash(
                prepare(
                    RawData(pa.table({**columns, **weight})),
                    split=SplitOptions(),
                    features=FeatureOptions(),
                    embed_dim=4,
                    seed=0,
                )
            )
        )
    assert len(hashes) == 3


def test_context_is_read_at_the_event_that_is_asked_for() -> None:
    events = pa.table(
        {"user": USERS, "item": ITEMS, "timestamp": list(range(11)), "page": list("ppqqpqpqpqp")}
    )
    found = prepare(
        RawData(events), split=SplitOptions(), features=FeatureOptions(), embed_dim=4, seed=0
    )
    pages = found.encoded.event["page"]
    batch = found.gather(torch.tensor([0, 1]), torch.tensor([4, 7]))
    assert batch["page"].tolist() == [pages[4], pages[7]]


def test_schema_survives_json_and_checks_itself() -> None:
    schema = data(items=items_table(tags=[["x"]] * 7, price=[1.0] * 7)).encoded.schema
    again = FeatureSchema.from_json(schema.to_json())
    assert again.user_features == schema.user_features
    assert again.item_features == schema.item_features
    assert [c.feature.name for c in schema.history] == ["history", "history_tags"]
    from rechub_cli.errors import RechubError

    with pytest.raises(RechubError, match="shares the table of item_id, but vocab_size"):
        FeatureSchema(
            [SequenceFeature("history", 5, shared_with="item_id")], [SparseFeature("item_id", 6)]
        )
    with pytest.raises(RechubError, match="Did you mean 'item_id'"):
        FeatureSchema(
            [SequenceFeature("history", 5, shared_with="itemid")], [SparseFeature("item_id", 5)]
        )
    with pytest.raises(
        RechubError, match="c: shared_with='b', which reads the table of 'a' itself"
    ):
        FeatureSchema(
            [SequenceFeature("c", 5, shared_with="b")],
            [SparseFeature("a", 5), SparseFeature("b", 5, shared_with="a")],
        )
    with pytest.raises(RechubError, match="unique over both towers; twice: .'x'"):
        FeatureSchema([SparseFeature("x", 5)], [SparseFeature("x", 5)])
    with pytest.raises(RechubError, match="'tags_length', which is where the lengths of 'tags'"):
        FeatureSchema([SequenceFeature("tags", 5)], [SparseFeature("tags_length", 5)])
    with pytest.raises(RechubError, match="'item_vector', which is a name of ours"):
        FeatureSchema([SparseFeature("item_vector", 5)], [SparseFeature("x", 5)])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["1.5", "2", "3.25", "4", "5", "free"], True),
        (["1", "2", "3", "4", "5", "free"], False),  # whole numbers are categories anyway
        (["1.5", "free", "gone", "2", "3", "4"], False),  # a third is too much for a slip
        (["a", "b", "c", "d", "e", "f"], False),
    ],
)
def test_a_slip_that_makes_categories_of_numbers_is_told(values: list[str], told: bool) -> None:
    notes: list[str] = []
    assert guess_kind("price", pa.array(values), np.ones(len(values), dtype=np.int64), notes)
    expected = "price: read as categories, as 1 of 6 distinct values are no numbers, 'free' first"
    assert notes == [expected + "; where such cells are empty it is read as numbers"] * told

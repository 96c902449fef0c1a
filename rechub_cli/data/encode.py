"""Raw columns to tensors and a FeatureSchema; nothing fitted sees a row outside training.

U users, I items, E events, G values of a multi-valued column. Tensors indexed by row carry one
row more than the table: the last is padding, so that a gather needs no special case.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from rechub_cli.data.encoded import Encoded, EncodedTables
from rechub_cli.data.feature_options import FeatureOptions
from rechub_cli.data.interactions import Catalogue, Interactions, Ints, UserTable
from rechub_cli.data.kinds import guess_kind
from rechub_cli.data.names import (
    EVENT_PREFIX,
    HISTORY,
    ITEM_ID,
    ITEM_PREFIX,
    MISSING_SUFFIX,
    RESERVED,
    UNNAMED,
    USER_ID,
    USER_PREFIX,
    feature_names,
)
from rechub_cli.data.padded import pad_lists
from rechub_cli.data.scaling import Scale, fit_scale
from rechub_cli.data.vocabulary import OOV, PADDING, Vocabulary
from rechub_cli.errors import ConfigError
from rechub_cli.features import (
    DenseFeature,
    Feature,
    FeatureSchema,
    SequenceFeature,
    SparseFeature,
)
from rechub_cli.suggest import did_you_mean


class Encoder:
    """Fits vocabularies and scales on training rows and encodes each column.

    embed_dim: width of every embedding table. options: see FeatureOptions.
    """

    def __init__(self, options: FeatureOptions, *, embed_dim: int) -> None:
        self.options = options
        self.embed_dim = embed_dim
        self.vocabularies: dict[str, Vocabulary] = {}
        self.scales: dict[str, Scale] = {}
        self.columns: dict[str, str] = {}
        self.notes: list[str] = []
        self.taken = set(RESERVED)
        """Keys of a batch that have a meaning."""

    def encode(
        self,
        interactions: Interactions,
        catalogue: Catalogue,
        users: UserTable,
        train: Ints,
    ) -> Encoded:
        """Encode all columns. train: int64, ascending, the events that may be fitted on."""
        item_counts = interactions.item_counts(train)
        user_counts = np.diff(np.searchsorted(train, interactions.offsets))
        clash = (set(catalogue.features) & (set(users.features) | set(interactions.context))) | set(
            RESERVED
        )
        self._check_options(
            _told_by(catalogue.features, ITEM_PREFIX, clash),
            _told_by(users.features, USER_PREFIX, clash),
            _told_by(interactions.context, EVENT_PREFIX, clash | set(users.features)),
        )
        item = EncodedTables()
        self._sparse(item, ITEM_ID, catalogue.ids, item_counts)
        self._columns(item, catalogue, item_counts, prefix=ITEM_PREFIX, clash=clash)
        user = EncodedTables()
        if self.options.user_id:
            self._sparse(user, USER_ID, users.ids, user_counts)
        self._columns(user, users, user_counts, prefix=USER_PREFIX, clash=clash)
        event = EncodedTables()
        clash |= set(user.tensors)
        if interactions.context:
            event_counts = np.zeros(interactions.num_events, dtype=np.int64)
            event_counts[train] = 1
            owners = pa.DictionaryArray.from_arrays(interactions.users(), users.ids)
            events = UserTable(owners, interactions.context)
            self._columns(event, events, event_counts, prefix=EVENT_PREFIX, clash=clash)
        history = self._history(item.features)
        return Encoded(
            FeatureSchema([*user.features, *event.features, *history], item.features),
            user.tensors,
            item.tensors,
            event.tensors,
            self.vocabularies,
            self.scales,
            self.columns,
            self.notes,
        )

    def _check_options(self, *told: list[str]) -> None:
        columns = sum(told, [])
        named = [("features.exclude", c) for c in self.options.exclude]
        named += [("features.types", c) for c in self.options.types]
        for key, column in named:
            if column not in columns:
                raise ConfigError(
                    f"{key} names {column!r}, which is no side column; there are "
                    f"{sorted(columns)}.{did_you_mean(column, columns)}"
                )

    def _history(self, item_features: list[Feature]) -> list[Feature]:
        wanted = self.options.history_columns
        names = [f.name for f in item_features if not isinstance(f, DenseFeature)]
        if wanted != "auto":
            for name in wanted:
                if name not in names:
                    raise ConfigError(
                        f"features.history_columns names {name!r}; allowed: {names[1:]}."
                        + did_you_mean(name, names)
                    )
        return [
            SequenceFeature(
                HISTORY if f.name == ITEM_ID else f"{HISTORY}_{f.name}",
                f.vocab_size,
                f.embed_dim,
                shared_with=f.name,
                padding_idx=PADDING,
                pooling=self.options.pooling,
            )
            for f in item_features
            if not isinstance(f, DenseFeature)
            and (f.name == ITEM_ID or wanted == "auto" or f.name in wanted)
        ]

    def _columns(
        self,
        out: EncodedTables,
        table: Catalogue | UserTable,
        counts: Ints,
        *,
        prefix: str,
        clash: set[str],
    ) -> None:
        kinds: dict[str, str] = {}
        for column, values in table.features.items():
            told = _told_by((column,), prefix, clash)
            if UNNAMED.fullmatch(column):
                self.notes.append(f"column {column!r} of an index, without a name: left out")
            elif not any(name in self.options.exclude for name in told):
                named = next((self.options.types[n] for n in told if n in self.options.types), None)
                guess = named or guess_kind(column, values, counts, self.notes)
                kinds |= {column: guess} if guess else {}
        names = feature_names(kinds, prefix=prefix, clash=clash, taken=self.taken)
        for column, kind in kinds.items():
            name, values = names[column], table.features[column]
            self.columns[name] = column
            if kind == "dense":
                self._dense(out, name, values, counts)
            elif kind == "multi":
                self._multi(out, name, values, counts, table.ids)
            else:
                self._sparse(out, name, values, counts)

    def _sparse(self, out: EncodedTables, name: str, values: pa.Array, counts: Ints) -> None:
        if pa.types.is_nested(values.type):
            raise ConfigError(f"{name} is a list column; allowed in features.types: multi")
        vocabulary = Vocabulary.fit(values, counts, min_count=self.options.min_count)
        self.vocabularies[name] = vocabulary
        ids = np.append(vocabulary.encode(values), PADDING)
        out.features.append(
            SparseFeature(name, vocabulary.size, self.embed_dim, padding_idx=PADDING)
        )
        out.tensors[name] = torch.from_numpy(ids)

    def _multi(
        self, out: EncodedTables, name: str, values: pa.Array, counts: Ints, owners: pa.Array
    ) -> None:
        if not pa.types.is_nested(values.type):
            raise ConfigError(f"{name} is no list column; allowed in features.types: sparse, dense")
        lengths = np.asarray(pc.list_value_length(values).fill_null(0).to_numpy()).astype(np.int64)
        flat = pc.list_flatten(values)
        vocabulary = Vocabulary.fit(
            flat, np.repeat(counts, lengths), min_count=self.options.min_count
        )
        ids = vocabulary.encode(flat)
        known = ids != OOV
        rows = np.repeat(np.arange(len(values)), lengths)[known]
        table, kept = pad_lists(ids[known], rows, owners, name=name)
        self.vocabularies[name] = vocabulary
        feature = SequenceFeature(
            name,
            vocabulary.size,
            self.embed_dim,
            pooling=self.options.pooling,
            padding_idx=PADDING,
        )
        out.features.append(feature)
        out.tensors[name] = torch.from_numpy(table)
        out.tensors[feature.length_key] = torch.from_numpy(kept)

    def _dense(self, out: EncodedTables, name: str, values: pa.Array, counts: Ints) -> None:
        if pa.types.is_nested(values.type) or pa.types.is_string(values.type):
            raise ConfigError(
                f"{name} holds {values.type}; features.types=dense needs one number a row"
            )
        numbers = np.asarray(values.cast(pa.float64()).fill_null(np.nan).to_numpy())
        if infinite := int(np.isinf(numbers).sum()):
            self.notes.append(f"{name}: {infinite:,} infinite values count as missing")
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        scale = fit_scale(numbers, counts)
        if scale is None:
            self.notes.append(f"{name}: left out, no training row has a value")
            return
        if not scale.varies:
            self.notes.append(
                f"{name}: {scale.mean:g} in every training row that has a value, so it tells "
                "nothing, and any other value counts as that one"
            )
        self.scales[name] = scale
        out.features.append(DenseFeature(name))
        out.tensors[name] = torch.from_numpy(np.append(scale(numbers), 0.0).astype(np.float32))
        if scale.flag:
            missing = np.append(np.isnan(numbers), True).astype(np.float32)
            out.features.append(DenseFeature(name + MISSING_SUFFIX))
            out.tensors[name + MISSING_SUFFIX] = torch.from_numpy(missing)


def _told_by(columns: Iterable[str], prefix: str, clash: set[str]) -> list[str]:
    """What options may call the columns: one of ``clash`` by the name that it gets, too."""
    columns = list(columns)
    return columns + [prefix + column for column in columns if column in clash]

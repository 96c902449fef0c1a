"""Embedding tables shared by name, and the encoders that read them.

B rows, L history length, G values of a multi-valued column, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from keyword import iskeyword

import torch
from torch import Tensor, nn

from rechub_cli.errors import RechubError
from rechub_cli.features import DenseFeature, Feature, SequenceFeature, TableFeature
from rechub_cli.layers.rows import is_traced, pooled_rows

Batch = Mapping[str, Tensor]
DOT, MODULE_NAMES = "\N{ONE DOT LEADER}", frozenset(dir(nn.ModuleDict()))
"""What stands for a dot in a module's name, and names that the modules of a dict cannot have."""
QUOTES = "\"'\\"
"""Characters that would end, or change, a quoted name."""


def read(batch: Batch, name: str) -> Tensor:
    """The batch's values of a feature. Raises RechubError where they are missing."""
    if name not in batch:
        raise RechubError(f"the batch lacks the feature {name!r}; it has {sorted(batch)}")
    return batch[name]


def read_values(
    batch: Batch, feature: Feature, name: str | None = None, *, lead: tuple[int, ...] = (1,)
) -> Tensor:
    """Values under ``name`` (None: the feature's): numbers float32, or ids int64.

    lead: how many axes may stand before those of one value: 1 ([B]), 2 ([B, L]).
    Raises RechubError where they are missing, of another shape, or ids that are no integers.
    """
    name = name or feature.name
    values = read(batch, name)
    many = isinstance(feature, SequenceFeature)
    if values.dim() - many not in lead:
        needed = [f"[{', '.join([*'BL'[:axes], *'G'[:many]])}]" for axes in lead]
        hint = " (values.squeeze(-1))" if values.shape[-1:] == (1,) else ""
        raise RechubError(
            f"{name}: the batch's values have the shape {list(values.shape)}; needed: "
            f"{' or '.join(needed)}{hint}"
        )
    return values.float() if isinstance(feature, DenseFeature) else integers(values, name)


def integers(values: Tensor, name: str) -> Tensor:
    """int64. Raises RechubError for what are no integers."""
    if values.dtype == torch.int64:
        return values
    if values.dtype == torch.bool or values.is_floating_point() or values.is_complex():
        raise RechubError(
            f"{name}: the batch's values are of type {str(values.dtype).removeprefix('torch.')}; "
            "needed: integers (values.long() where they are whole)"
        )
    return values.long()


def length_mask(lengths: Tensor, width: int) -> Tensor:
    """bool [..., width]: which of the right-padded positions are real. lengths: int64 [...]."""
    return torch.arange(width, device=lengths.device) < lengths.unsqueeze(-1)


def lengths_of(batch: Batch, feature: SequenceFeature, name: str | None = None) -> Tensor:
    """Lengths of a sequence: those given, or else the count of ids that are not padding."""
    name = name or feature.name
    given = batch.get(f"{name}_length")
    if given is not None:
        return integers(given, f"{name}_length")
    if feature.padding_idx is None:
        raise RechubError(
            f"the batch lacks {name}_length: give the lengths, or declare padding_idx in {name}"
        )
    real = read(batch, name) != feature.padding_idx
    lengths = real.sum(-1)
    if not is_traced() and not bool((real == length_mask(lengths, real.shape[-1])).all()):
        raise RechubError(
            f"{name}: padding ({feature.padding_idx}) stands before ids in the batch, and "
            f"sequences are padded on the right: move it behind them, or give {name}_length"
        )
    return lengths


class EmbeddingTables(nn.Module):
    """One table a name; features that share a name share the table.

    Rows start at N(0, 1/D), so that a vector's norm is about 1; the padding row stays 0.
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        super().__init__()
        self.tables = nn.ModuleDict()
        for feature in features:
            if isinstance(feature, DenseFeature) or module_key(feature.table) in self.tables:
                continue
            table = nn.Embedding(
                feature.vocab_size, feature.embed_dim, padding_idx=feature.padding_idx
            )
            nn.init.normal_(table.weight, std=feature.embed_dim**-0.5)
            if feature.padding_idx is not None:
                with torch.no_grad():
                    table.weight[feature.padding_idx] = 0.0
            self.tables[module_key(feature.table)] = table

    def lookup(self, feature: TableFeature, ids: Tensor) -> Tensor:
        """ids int64 [...] -> [..., D].

        Raises RechubError for an id beyond the vocabulary (on a CPU; a GPU ends in its own).
        """
        table = self.tables[module_key(feature.table)]
        with _ids_in(feature, ids):
            found: Tensor = table(ids)
        return found

    def pooled(self, feature: SequenceFeature, ids: Tensor, lengths: Tensor) -> Tensor:
        """Mean or sum over the last axis of right-padded ids [..., G] -> [..., D]; of none, 0.

        The padding's id is none.
        """
        mask = length_mask(lengths, ids.shape[-1])  # [..., G]
        if feature.padding_idx is not None:
            mask = mask & (ids != feature.padding_idx)
        if torch.onnx.is_in_onnx_export():  # which knows no bags
            total = (self.lookup(feature, ids) * mask.unsqueeze(-1)).sum(-2)
            if feature.pooling == "sum":
                return total
            return total / mask.sum(-1).clamp(min=1).unsqueeze(-1)
        # A quarter of the time: the looked up [..., G, D] are never made.
        table, count = self.tables[module_key(feature.table)], mask.sum(-1).flatten()
        assert isinstance(table, nn.Embedding)
        real = ids[mask]
        with _ids_in(feature, real):
            bags = pooled_rows(table.weight, real, count, mode=feature.pooling, sparse=table.sparse)
        return bags.view(*ids.shape[:-1], -1)


@contextmanager
def _ids_in(feature: TableFeature, ids: Tensor) -> Iterator[None]:
    """Names the feature and its vocabulary where a lookup fails."""
    try:
        yield
    except (IndexError, RuntimeError) as error:
        if not ids.numel() or 0 <= int(ids.min()) <= int(ids.max()) < feature.vocab_size:
            raise
        raise RechubError(
            f"{feature.name}: ids {int(ids.min())}..{int(ids.max())} in the batch; allowed: "
            f"0..{feature.vocab_size - 1} (vocab_size={feature.vocab_size})"
        ) from error


def module_key(name: str) -> str:
    """A feature's name as a module's name: no dot, no word of Python's, nor of ModuleDict's own,
    and nothing that would end a string in the code that torch writes of a module to export it."""
    key = name.replace(".", DOT)
    key = "".join(f"{DOT}{ord(c):x}" if c in QUOTES or not c.isprintable() else c for c in key)
    return key + DOT if iskeyword(key) or key in MODULE_NAMES else key


class ConcatEncoder(nn.Module):
    """Embeds features and concatenates them: [B, sum of widths]."""

    def __init__(self, tables: EmbeddingTables, features: Sequence[Feature]) -> None:
        super().__init__()
        self.tables = tables
        self.features = tuple(features)
        self.dense = nn.ModuleDict(
            {
                module_key(f.name): nn.Linear(1, f.embed_dim)
                for f in features
                if isinstance(f, DenseFeature) and f.embed_dim > 1
            }
        )
        self.widths = [f.embed_dim for f in features]

    def forward(self, batch: Batch, lead: tuple[int, ...] = (1,)) -> Tensor:
        """lead: see read_values."""
        parts = [self._one(batch, f, lead) for f in self.features]
        return torch.cat(parts, dim=-1)

    def _one(self, batch: Batch, feature: Feature, lead: tuple[int, ...]) -> Tensor:
        values = read_values(batch, feature, lead=lead)
        if isinstance(feature, DenseFeature):
            column = values.unsqueeze(-1)  # [B, 1]
            if feature.embed_dim == 1:
                return column
            projected: Tensor = self.dense[module_key(feature.name)](column)
            return projected
        if isinstance(feature, SequenceFeature):
            return self.tables.pooled(feature, values, lengths_of(batch, feature))
        return self.tables.lookup(feature, values)


class ItemEncoder(nn.Module):
    """One vector an item: its id's embedding plus one a side feature, each brought to width D.

    The same encoder reads candidates and, under the names of the history columns, past items.
    features: the item features, the id first; D is the id's embed_dim.
    """

    def __init__(self, tables: EmbeddingTables, features: Sequence[Feature]) -> None:
        super().__init__()
        self.tables = tables
        self.features = tuple(features)
        self.out_dim = self.features[0].embed_dim
        self.project = nn.ModuleDict()
        for feature in self.features:
            width = 1 if isinstance(feature, DenseFeature) else feature.embed_dim
            if width != self.out_dim or isinstance(feature, DenseFeature):
                layer = nn.Linear(width, self.out_dim, bias=False)
                nn.init.xavier_uniform_(layer.weight)
                self.project[module_key(feature.name)] = layer

    def forward(
        self, batch: Batch, names: Mapping[str, str] | None = None, lead: tuple[int, ...] = (1,)
    ) -> Tensor:
        """names: item feature -> the batch's key; features without a key are left out.

        lead: see read_values.
        """
        total: Tensor | None = None
        for feature in self.features:
            name = feature.name if names is None else names.get(feature.name)
            if name is None:
                continue
            part = self._one(batch, feature, name, lead)
            total = part if total is None else total + part
        assert total is not None
        return total

    def _one(self, batch: Batch, feature: Feature, name: str, lead: tuple[int, ...]) -> Tensor:
        values = read_values(batch, feature, name, lead=lead)
        if isinstance(feature, DenseFeature):
            part = values.unsqueeze(-1)
        elif isinstance(feature, SequenceFeature):
            part = self.tables.pooled(feature, values, lengths_of(batch, feature, name))
        else:
            part = self.tables.lookup(feature, values)
        key = module_key(feature.name)
        return self.project[key](part) if key in self.project else part

"""What columns became: tensors, and what encoded them. G values of a multi-valued column."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from rechub_cli.data.scaling import Scale
from rechub_cli.data.vocabulary import Vocabulary
from rechub_cli.features import Feature, FeatureSchema


@dataclass
class EncodedTables:
    """The tensors of one side: ``tensors[name]`` int64 or float32, [rows + 1] or [rows + 1, G]."""

    features: list[Feature] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Encoded:
    """Everything that a model reads, and what is needed to encode raw values again."""

    schema: FeatureSchema
    user: dict[str, Tensor]
    item: dict[str, Tensor]
    event: dict[str, Tensor]
    vocabularies: dict[str, Vocabulary]
    scales: dict[str, Scale]
    columns: dict[str, str]
    """The side column that a feature was made of."""
    notes: list[str]

    def read_otherwise(self, other: Encoded) -> str | None:
        """The first column whose ids or numbers mean something else in the other tables."""
        if other is self:
            return None
        for name, vocabulary in self.vocabularies.items():
            known = other.vocabularies.get(name)
            if known is None or not vocabulary.values.equals(known.values):
                return name
        return next((n for n, scale in self.scales.items() if other.scales.get(n) != scale), None)

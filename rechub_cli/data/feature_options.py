"""What may be told about side columns and histories, before any of them is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rechub_cli.checks import check, check_kind, check_known, share_rule, whole_rule
from rechub_cli.data.kinds import KINDS, Kind
from rechub_cli.features import POOLINGS


@dataclass(frozen=True)
class FeatureOptions:
    """What ``features: auto`` may be told; see conf/features/auto.yaml for each meaning.

    Raises ConfigError for other values.
    """

    user_id: bool = False
    exclude: tuple[str, ...] = ()
    types: Mapping[str, Kind] = field(default_factory=dict)
    max_len: int = 50
    history_columns: Literal["auto"] | tuple[str, ...] = "auto"
    min_count: int = 1
    oov_share: float = 0.02
    pooling: str = "mean"

    def __post_init__(self) -> None:
        check_known("pooling", self.pooling, POOLINGS)
        check_kind("types", self.types, Mapping, "a dict of columns and their kinds")
        auto = self.history_columns == "auto"
        for key in ("exclude",) if auto else ("exclude", "history_columns"):
            check_kind(key, getattr(self, key), list | tuple, "a list of columns")
        for column, kind in self.types.items():
            check_known(f"types[{column!r}]", kind, KINDS)
        check(
            self,
            whole_rule("max_len", self.max_len, 1),
            whole_rule("min_count", self.min_count, 1),
            share_rule("oov_share", self.oov_share),
            *(
                (column in self.types, f"exclude|leaves out {column}, for which types has a kind")
                for column in self.exclude
            ),
        )

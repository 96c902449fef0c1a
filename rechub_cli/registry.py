"""Model names to models. A model is one Python file and one YAML file of the same stem.

Other packages add models through entry points, see ``plugins``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rechub_cli.checks import check_known
from rechub_cli.config.node import Node
from rechub_cli.features import FeatureSchema
from rechub_cli.models.matching.base import MatchingModel
from rechub_cli.models.matching.comirec_dr import ComirecDR
from rechub_cli.models.matching.comirec_sa import ComirecSA
from rechub_cli.models.matching.dssm import DSSM
from rechub_cli.models.matching.gru4rec import GRU4Rec
from rechub_cli.models.matching.mind import MIND
from rechub_cli.models.matching.sasrec import SASRec
from rechub_cli.models.matching.sparsity import causal_dropouts, mlp_dropouts
from rechub_cli.models.matching.youtube_dnn import YoutubeDNN
from rechub_cli.plugins import other_entries


@dataclass(frozen=True)
class ModelEntry:
    """build: called with user_features, item_features, max_len and the keys of the model's YAML
    file. interests, needs_history: how many vectors a user has, and whether the model reads a
    history, for ``rechub models``. paper: the source. dropouts: those that the config leaves open,
    from the training events an item has. settings: the class of the keys of the YAML file, a Node
    with ``name: Literal[...]`` and ``embed_dim``; None for those built in, whose classes the config
    knows."""

    name: str
    build: Callable[..., MatchingModel]
    paper: str
    interests: str = "1"
    needs_history: bool = True
    dropouts: Callable[[float], dict[str, float]] = mlp_dropouts
    settings: type[Node] | None = None


BUILT_IN = (
    ModelEntry("dssm", DSSM, "Huang et al. 2013; Yi et al. 2019", needs_history=False),
    ModelEntry("youtube_dnn", YoutubeDNN, "Covington et al. 2016"),
    ModelEntry("comirec_dr", ComirecDR, "Cen et al. 2020", interests="interest_num"),
    ModelEntry("comirec_sa", ComirecSA, "Cen et al. 2020", interests="interest_num"),
    ModelEntry("gru4rec", GRU4Rec, "Hidasi et al. 2016, 2018", dropouts=causal_dropouts),
    ModelEntry("sasrec", SASRec, "Kang and McAuley 2018", dropouts=causal_dropouts),
    ModelEntry("mind", MIND, "Li et al. 2019", interests="interest_num, by history length"),
)


def list_models() -> list[ModelEntry]:
    """Every model, built in or of another package, by name."""
    return sorted([*BUILT_IN, *other_entries()], key=lambda entry: entry.name)


def find_model(name: str) -> ModelEntry:
    """A registered model. Raises ConfigError for another name."""
    entries = {entry.name: entry for entry in list_models()}
    check_known("model.name", name, entries)
    return entries[name]


def build_model(
    name: str, schema: FeatureSchema, *, max_len: int, params: dict[str, Any]
) -> MatchingModel:
    """Build a registered model. params: the keys of its YAML file but name and embed_dim."""
    return find_model(name).build(
        schema.user_features, schema.item_features, max_len=max_len, **params
    )

"""rechub: retrieval recommenders trained, evaluated and exported from one declarative config."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rechub_cli._version import __version__

if TYPE_CHECKING:
    from rechub_cli.data.dataset import SplitOptions
    from rechub_cli.data.feature_options import FeatureOptions
    from rechub_cli.data.filters import FilterOptions
    from rechub_cli.data.load import load_interactions
    from rechub_cli.errors import ConfigError, DataError, RechubError
    from rechub_cli.export.inputs import write_inputs
    from rechub_cli.features import DenseFeature, FeatureSchema, SequenceFeature, SparseFeature
    from rechub_cli.models.matching.comirec_dr import ComirecDR
    from rechub_cli.models.matching.comirec_sa import ComirecSA
    from rechub_cli.models.matching.dssm import DSSM
    from rechub_cli.models.matching.gru4rec import GRU4Rec
    from rechub_cli.models.matching.mind import MIND
    from rechub_cli.models.matching.sasrec import SASRec
    from rechub_cli.models.matching.youtube_dnn import YoutubeDNN
    from rechub_cli.runs import load_run
    from rechub_cli.trainers.match_trainer import MatchTrainer
    from rechub_cli.trainers.options import LossOptions, NegativeOptions

# Loaded on first use: `import rechub_cli` takes no torch with it.
_HOMES = {
    "DSSM": "models.matching.dssm",
    "YoutubeDNN": "models.matching.youtube_dnn",
    "ComirecDR": "models.matching.comirec_dr",
    "ComirecSA": "models.matching.comirec_sa",
    "GRU4Rec": "models.matching.gru4rec",
    "MIND": "models.matching.mind",
    "SASRec": "models.matching.sasrec",
    "MatchTrainer": "trainers.match_trainer",
    "LossOptions": "trainers.options",
    "NegativeOptions": "trainers.options",
    "SparseFeature": "features",
    "DenseFeature": "features",
    "SequenceFeature": "features",
    "FeatureSchema": "features",
    "FeatureOptions": "data.feature_options",
    "FilterOptions": "data.filters",
    "SplitOptions": "data.dataset",
    "RechubError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "load_interactions": "data.load",
    "load_run": "runs",
    "write_inputs": "export.inputs",
}

__all__ = [
    "DSSM",
    "MIND",
    "ComirecDR",
    "ComirecSA",
    "DenseFeature",
    "FeatureSchema",
    "GRU4Rec",
    "LossOptions",
    "MatchTrainer",
    "NegativeOptions",
    "SASRec",
    "SequenceFeature",
    "SparseFeature",
    "YoutubeDNN",
    "__version__",
    "load_interactions",
    "load_run",
    "write_inputs",
    "FeatureOptions",
    "FilterOptions",
    "SplitOptions",
    "RechubError",
    "ConfigError",
    "DataError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rechub_cli' has no attribute {name!r}")
    return getattr(importlib.import_module(f"rechub_cli.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

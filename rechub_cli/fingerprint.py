"""What the figures of a run follow from, in hashes."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from rechub_cli._version import __version__
from rechub_cli.config.data_schema import DemoData
from rechub_cli.config.schema import RunConfig
from rechub_cli.data.dataset import MatchData

LIBRARIES = ("torch", "numpy", "pyarrow", "onnx", "onnxruntime")


def data_hash(data: MatchData) -> str:
    """SHA-256 of the encoded events, their weights, features and split: what training can see."""
    digest = hashlib.sha256()
    interactions, split = data.interactions, data.split
    arrays: list[Any] = [interactions.offsets, interactions.items, split.train_end]
    arrays += [a for q in (split.valid, split.test) for a in (q.user, q.history_end, q.target_end)]
    tables = (data.encoded.user, data.encoded.item, data.encoded.event)
    arrays += [t[name].numpy() for t in tables for name in sorted(t)]
    arrays += [] if interactions.weights is None else [interactions.weights]
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    for name, vocabulary in sorted(data.encoded.vocabularies.items()):
        digest.update(name.encode())
        for value in vocabulary.values.to_pylist():
            digest.update(f"{value!r},".encode())
    return digest.hexdigest()


def text_hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def protocol(config: RunConfig, data: MatchData, **changes: Any) -> dict[str, Any]:
    """How the figures were measured: split, filters, candidates, seen items, ties."""
    filters = {} if isinstance(config.data, DemoData) else config.data.filters.model_dump()
    return {
        "split": data.split.protocol,
        "filters": filters,
        "rating_threshold": getattr(config.data, "rating_threshold", None),
        "ranking": "full",
        "candidates": "all",
        "mask_seen": config.evaluation.mask_seen,
        "ties": "against",
        "top_k": config.evaluation.top_k,
        **changes,
    }


def fingerprint(config: RunConfig, data: MatchData) -> dict[str, Any]:
    """What the figures follow from; no time, path or memory is in it."""
    plain = config.model_dump(mode="json")
    for node in (plain["data"], *(plain["data"].get(k, {}) for k in ("items", "users"))):
        node.pop("path", None)
    plain["data"].pop("cache", None)
    return {
        "config": text_hash(plain),
        "data": data_hash(data),
        "protocol": text_hash(protocol(config, data)),
        "seed": config.seed,
        "threads": config.trainer.threads,
        "precision": config.trainer.precision,
        "versions": {
            "rechub": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in LIBRARIES},
        },
    }


def _version(name: str) -> str:
    try:
        return re.sub(r"\+.*", "", version(name))
    except PackageNotFoundError:
        return "absent"

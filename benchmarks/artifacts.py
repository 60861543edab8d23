"""Models as replicas load them, written without a server."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec


def write_estimator(estimator: Any, folder: Path) -> Path:
    """An artifact with a fitted scikit-learn estimator; replicas warm up with a row of zeros."""
    width = int(estimator.n_features_in_)
    return _write(folder, pickle.dumps(estimator), {"flavor": "sklearn", "input_width": width})


def write_function(function: Callable[[Any], Any], width: int, folder: Path) -> Path:
    """An artifact with a function of a batch of rows of that width."""
    return _write(folder, cloudpickle.dumps(function), {"flavor": "python", "input_width": width})


def _write(folder: Path, content: bytes, about: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.pkl").write_bytes(content)
    manifest = {
        "format": 1,
        "input_type": "doubles",
        "method": "predict",
        "example_input": [0.0] * about["input_width"],
        "entry": "model.pkl",
        **about,
    }
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return folder

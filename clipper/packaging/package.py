"""From a model, live or saved, to what is sent to the server: a tar with its manifest, and what the spec says."""

import json
from dataclasses import dataclass
from hashlib import file_digest
from os import PathLike
from pathlib import Path
from typing import Any, get_args

from clipper.domain import NUMERIC_INPUT_TYPES, InputType
from clipper.errors import InvalidModel
from clipper.inputs import encode_input
from clipper.json_encoding import encode
from clipper.manifest import MANIFEST_NAME, Manifest
from clipper.packaging import objects, paths
from clipper.packaging.archive import write_tar
from clipper.packaging.content import Content

ARTIFACT_NAME = "artifact.tar"


@dataclass(frozen=True, slots=True)
class Package:
    """A model ready to be sent. ``tar`` is None for the flavor ``noop``, which has nothing to load."""

    flavor: str
    input_type: InputType
    method: str
    tar: Path | None

    def digest(self) -> str | None:
        """The sha256 of the tar, by which the server knows the artifact."""
        if self.tar is None:
            return None
        with self.tar.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()


def package(
    model: Any,
    directory: Path,
    *,
    input_type: InputType | None = None,
    flavor: str | None = None,
    method: str | None = None,
    example_input: Any = None,
) -> Package:
    """Write the artifact of ``model`` into ``directory``.

    Args:
        model: A fitted estimator, a function of a batch, or the path of a saved model; None for the flavor ``noop``.
        directory: Where the tar goes; the caller removes it.
        input_type: What the model takes; estimators take ``doubles`` unless told otherwise.
        flavor: How to load and call it, where that is not to be recognised.
        method: ``predict`` (the default) or ``predict_proba``, of estimators.
        example_input: One input; the replica warms up with it.

    Raises:
        InvalidModel: The model cannot be packaged; the sentence says why and what can.
    """
    content = _content(model, directory, flavor, method or "predict")
    taken = input_type or content.input_type
    if taken is None:
        raise InvalidModel(
            "What the model takes is not known; name its input type (input_type=..., --input-type): "
            f"{', '.join(get_args(InputType))}."
        )
    if taken not in get_args(InputType):
        raise InvalidModel(f"There is no input type '{taken}'; there is {', '.join(get_args(InputType))}.")
    if content.flavor == "noop":
        return Package("noop", taken, "predict", None)
    if content.manifest is not None:
        manifest = json.loads(content.manifest)
        _require_same("input type", taken, content.input_type)
        _require_same("method", method or manifest.get("method", "predict"), manifest.get("method", "predict"))
        method, text = manifest.get("method", "predict"), content.manifest
    else:
        text = _manifest(content, taken, method or "predict", example_input)
    tar = directory / ARTIFACT_NAME
    write_tar(tar, {**content.files, MANIFEST_NAME: text})
    return Package(content.flavor, taken, method or "predict", tar)


def _content(model: Any, directory: Path, flavor: str | None, method: str) -> Content:
    if flavor == "noop":
        return Content("noop")
    if isinstance(model, str | PathLike):
        return paths.content_of(Path(model), flavor=flavor)
    return objects.content_of(model, directory, method=method, flavor=flavor)


def _require_same(what: str, asked: Any, packed: Any) -> None:
    if asked != packed:
        raise InvalidModel(f"The {what} '{asked}' was asked for; the {MANIFEST_NAME} says '{packed}'.")


def _manifest(content: Content, input_type: InputType, method: str, example_input: Any) -> bytes:
    numeric = input_type in NUMERIC_INPUT_TYPES
    width = content.input_width if numeric else None
    example = None
    if example_input is not None:
        row = encode_input(input_type, example_input, width, field="example_input")
        width = len(row) // NUMERIC_INPUT_TYPES[input_type] if numeric else None
        example = json.loads(encode({"example_input": example_input}))["example_input"]
    manifest = Manifest(
        format=1,
        flavor=content.flavor,
        input_type=input_type,
        method="predict_proba" if method == "predict_proba" else "predict",
        input_width=width,
        example_input=example,
        python=content.python,
        packages=dict(content.packages),
        entry=content.entry,
    )
    return json.dumps(manifest.model_dump(mode="json", exclude_none=True), sort_keys=True, indent=1).encode()

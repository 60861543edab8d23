"""From a model, live or saved, to what is sent to the server: a tar with its manifest, and what the spec says."""

import json
from dataclasses import dataclass
from hashlib import file_digest
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from clipper.domain import NUMERIC_INPUT_TYPES, InputType
from clipper.errors import InvalidModel
from clipper.inputs import decode_input, encode_input
from clipper.json_encoding import encode
from clipper.manifest import IMAGE_FLAVOR, MANIFEST_NAME, Manifest
from clipper.packaging import images, objects, paths, servers
from clipper.packaging.archive import write_tar
from clipper.packaging.content import Content
from clipper.packaging.requirements import FILE_NAME as REQUIREMENTS_NAME
from clipper.packaging.requirements import Given
from clipper.packaging.requirements import read as read_requirements
from clipper.tensors import Tensor, check_tensors, parse_tensors
from clipper.validation import invalid_request
from clipper_container.layout import Layout
from clipper_container.manifest import content_digest

ARTIFACT_NAME = "artifact.tar"


@dataclass(frozen=True, slots=True)
class Package:
    """A model ready to be sent. ``tar`` is None for the flavor ``noop``, which has nothing to load."""

    flavor: str
    input_type: InputType
    method: str
    tar: Path | None
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()

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
    requirements: Given = None,
    inputs: Any = (),
    outputs: Any = (),
) -> Package:
    """Write the artifact of ``model`` into ``directory``.

    Args:
        model: A fitted estimator, a module of PyTorch's, a Keras model, a function of a batch, the path of a saved
            model, the ``grpc://`` address of one behind a server, or the ``docker://`` name of an image that has one;
            None for the flavor ``noop``.
        directory: Where the tar goes; the caller removes it.
        input_type: What the model takes; estimators take ``doubles`` unless told otherwise, programs of frameworks
            what they were saved with.
        flavor: How to load and call it, where that is not to be recognised.
        method: ``predict`` (the default) or ``predict_proba``, of estimators.
        example_input: One input; the replica warms up with it. Modules of PyTorch are exported with it: it has the
            shape that they take, without the batch.
        requirements: What pip shall install for the model: lines, or the path of a file. By default a
            requirements.txt beside a saved model.
        inputs: The tensors of one query, of the input type ``tensors``, which needs not be named then: a list of
            ``{"name", "datatype", "shape"}``. A saved model may say them itself.
        outputs: The same of one answer.

    Raises:
        InvalidModel: The model cannot be packaged; the sentence says why and what can.
    """
    said = _tensors(inputs, "inputs"), _tensors(outputs, "outputs")
    input_type = input_type or ("tensors" if said[0] else None)
    content = _content(model, directory, flavor, method or "predict", example_input, input_type)
    if content.flavor == IMAGE_FLAVOR and not (method is None and example_input is None and requirements is None):
        raise InvalidModel(
            "The method, the example and the requirements of a baked model are those of 'clipper build'."
        )
    taken = input_type or content.input_type
    if taken is None:
        raise InvalidModel(
            "What the model takes is not known; name its input type (input_type=..., --input-type): "
            f"{', '.join(get_args(InputType))}."
        )
    if taken not in get_args(InputType):
        raise InvalidModel(f"There is no input type '{taken}'; there is {', '.join(get_args(InputType))}.")
    tensors = (said[0] or content.inputs, said[1] or content.outputs) if taken == "tensors" else ((), said[1])
    _require_tensors(taken, tensors[0] or said[0])
    if content.flavor == "noop":
        return Package("noop", taken, "predict", None, *tensors)
    if content.manifest is not None:
        manifest = json.loads(content.manifest)
        _require_same("input type", taken, content.input_type)
        for what, asked, packed in zip(("inputs", "outputs"), said, (content.inputs, content.outputs), strict=True):
            if asked and packed:
                _require_same(what, _shown(asked), _shown(packed))
        _require_same("method", method or manifest.get("method", "predict"), manifest.get("method", "predict"))
        if requirements is not None:
            raise InvalidModel(f"The requirements of a packaged directory are those that its {MANIFEST_NAME} lists.")
        method, text, files = manifest.get("method", "predict"), content.manifest, content.files
    else:
        needed = read_requirements(requirements, beside=_requirements_beside(model, content))
        files = {**content.files, **needed.files}
        digest = content_digest(files)
        text = _manifest(content, taken, method or "predict", example_input, needed.lines, digest, tensors)
    tar = directory / ARTIFACT_NAME
    write_tar(tar, {**files, MANIFEST_NAME: text})
    return Package(content.flavor, taken, method or "predict", tar, *tensors)


def _tensors(value: Any, what: str) -> tuple[Tensor, ...]:
    try:
        return parse_tensors(value or ())
    except ValidationError as error:
        raise InvalidModel(invalid_request(error, what).message) from None


def _require_tensors(taken: str, inputs: tuple[Tensor, ...]) -> None:
    try:
        check_tensors(taken, inputs)
    except ValueError as error:
        raise InvalidModel(f"The model cannot be deployed so: {error}.") from None


def _content(
    model: Any, directory: Path, flavor: str | None, method: str, example: Any, input_type: InputType | None
) -> Content:
    if flavor == "noop":
        return Content("noop")
    if isinstance(model, str) and servers.is_address(model):
        return servers.content_of(model)
    if isinstance(model, str) and images.is_address(model):
        return images.content_of(model)
    if isinstance(model, str | PathLike):
        return paths.content_of(Path(model), method=method, flavor=flavor)
    return objects.content_of(model, directory, method=method, flavor=flavor, example=example, input_type=input_type)


def _requirements_beside(model: Any, content: Content) -> Path | None:
    """The file that may list them: one that came with the model, else one in the directory of a saved model."""
    elsewhere = content.flavor in {servers.FLAVOR, IMAGE_FLAVOR}
    if content.requirements is not None or elsewhere or not isinstance(model, str | PathLike):
        return content.requirements
    path = Path(model).absolute()
    return (path if path.is_dir() else path.parent) / REQUIREMENTS_NAME


def _shown(tensors: tuple[Tensor, ...]) -> str:
    return ", ".join(map(str, tensors))


def _require_same(what: str, asked: Any, packed: Any) -> None:
    if asked != packed:
        raise InvalidModel(f"The {what} '{asked}' was asked for; the {MANIFEST_NAME} says '{packed}'.")


def _manifest(
    content: Content,
    input_type: InputType,
    method: str,
    example_input: Any,
    requirements: tuple[str, ...],
    digest: str,
    tensors: tuple[tuple[Tensor, ...], tuple[Tensor, ...]],
) -> bytes:
    inputs, outputs = tensors
    numeric = input_type in NUMERIC_INPUT_TYPES
    width, shape = (content.input_width, content.input_shape) if numeric else (None, None)
    example = None
    if example_input is not None:
        if numeric and content.flavor in paths.FORMATS:
            example_input, shape = _flat(example_input, shape)
        layout = Layout(inputs) if inputs else None
        row = encode_input(input_type, example_input, width, field="example_input", layout=layout)
        width = len(row) // NUMERIC_INPUT_TYPES[input_type] if numeric else None
        if layout is not None:
            example_input = decode_input(input_type, row, layout)
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
        framework=content.framework,
        input_shape=shape if shape is not None and len(shape) > 1 else None,
        output_kind=content.output_kind,
        requirements=requirements,
        digest=digest,
        inputs=inputs,
        outputs=outputs,
    )
    fields = manifest.model_dump(mode="json", exclude_none=True)
    for name in ("requirements", "inputs", "outputs"):
        if not fields[name]:
            del fields[name]
    return json.dumps(fields, sort_keys=True, indent=1).encode()


def _flat(example: Any, shape: tuple[int, ...] | None) -> tuple[Any, tuple[int, ...] | None]:
    """The example as a row, which is flat, and the shape that one row has."""
    try:
        array = np.asarray(example.tolist() if hasattr(example, "tolist") else example)
    except ValueError:
        return example, shape  # ragged: the encoder says what it expected
    return array.ravel().tolist(), array.shape if shape is None else shape

"""What an artifact says about itself: the ``manifest.json`` at the top of its tar."""

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from clipper.domain import InputType
from clipper.errors import InvalidJson, InvalidRequest
from clipper.frozen import Frozen, Name
from clipper.json_encoding import decode
from clipper.tensors import Tensors
from clipper.validation import validated

MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 16 << 20
MAX_REQUIREMENTS = 1000
IMAGE_FLAVOR = "image"
"""Of a model that was baked into a Docker image: ``entry`` names the image, which has a manifest of its own inside."""

OutputKind = Literal["label", "number", "scores", "json"]
"""What a row is answered with: a class (number or text), a number, a list of numbers, or anything."""


class Manifest(Frozen):
    """Recognised without unpickling anything. A newer client's further fields are kept as they came.

    ``entry`` is the file (``model.pkl``) or the file and the function in it (``model.py:predict``) that the runtime
    loads, relative to the manifest; the flavor ``noop`` has none. ``framework`` is what saved the model, in words;
    ``input_shape`` what one row becomes; ``requirements`` lines for pip, where paths are relative to the manifest;
    ``digest`` the sha256 over the other files, by which a damaged artifact is told from a model that does not load;
    ``inputs`` and ``outputs`` the tensors of one query and of one answer.
    """

    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="constants")

    format: Literal[1]
    flavor: Name
    input_type: InputType
    method: Literal["predict", "predict_proba"] = "predict"
    input_width: Annotated[int, Field(ge=1)] | None = None
    example_input: Any = None
    python: str | None = None
    packages: Annotated[dict[str, str], Field(default_factory=dict)]
    entry: Annotated[str, Field(max_length=4096)] | None = None
    framework: Annotated[str, Field(max_length=200)] | None = None
    input_shape: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    output_kind: OutputKind | None = None
    requirements: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^\n\r]+$")], ...],
        Field(max_length=MAX_REQUIREMENTS),
    ] = ()
    inputs: Tensors = ()
    outputs: Tensors = ()
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @field_validator("entry")
    @classmethod
    def _stays_inside(cls, entry: str | None) -> str | None:
        path = PurePosixPath((entry or "").split(":")[0])
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("names a file inside the artifact")
        return entry


def parse_manifest(text: bytes) -> Manifest:
    """The manifest in ``text``.

    Raises:
        InvalidRequest: It is not JSON, or a field is missing or wrong.
    """
    try:
        value = decode(text, f"{MANIFEST_NAME} of the artifact")
    except InvalidJson as error:
        raise InvalidRequest(error.message) from None
    return validated(Manifest, value, f"{MANIFEST_NAME} of the artifact")

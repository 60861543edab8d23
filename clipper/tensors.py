"""What a definition says about the tensors of a query, or of an answer."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, field_validator, model_validator

from clipper.frozen import Count, Frozen
from clipper_container.tensors import FREE, MAX_ELEMENTS, MAX_RANK, MAX_TENSORS, MalformedTensor, count_elements

Datatype = Literal[
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64", "BYTES"
]
"""Of a tensor's elements, as the Open Inference Protocol calls them."""

Size = Annotated[Count, Field(ge=FREE, le=MAX_ELEMENTS)]
_WRITTEN = re.compile(r"(?:(\S.*?)\s+)?([A-Z]+[0-9]*)\s*\[\s*((?:-?[0-9]+\s*(?:,\s*|(?=\])))*)\]")


class Tensor(Frozen):
    """One tensor that a query has, or an answer. ``shape`` is of one query, without the batch; -1 leaves a size open.

    Written as these fields or as words: ``image FP32[28, 28]``. A tensor that is the only one needs no name; the model
    then gets the array itself, and not a dict of arrays.
    """

    name: Annotated[str, Field(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    datatype: Datatype
    shape: Annotated[tuple[Size, ...], Field(max_length=MAX_RANK - 1)] = ()

    def __str__(self) -> str:
        """As words."""
        return f"{self.name} {self.datatype}{list(self.shape)}".strip()

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = _WRITTEN.fullmatch(value.strip())
        if found is None:
            raise ValueError("is written as 'name DATATYPE[sizes]', for instance 'image FP32[28, 28]'")
        name, datatype, sizes = found.groups("")
        return {"name": name, "datatype": datatype, "shape": [int(size) for size in sizes.split(",") if size]}

    @field_validator("shape")
    @classmethod
    def _has_sizes(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if 0 in shape:
            raise ValueError("has sizes from 1 on, or -1 where a query decides")
        try:
            count_elements([size for size in shape if size != FREE])
        except MalformedTensor as fault:
            raise ValueError(str(fault)) from None
        return shape


def _told_apart(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names) or (len(names) > 1 and "" in names):
        raise ValueError("each has a name of its own, where there are several")
    return tensors


Tensors = Annotated[tuple[Tensor, ...], Field(max_length=MAX_TENSORS), AfterValidator(_told_apart)]


_tensors: TypeAdapter[tuple[Tensor, ...]] = TypeAdapter(Tensors)


TensorLike = Tensor | Mapping[str, Any] | str
"""How users write one: a value, its fields, or words such as ``image FP32[28, 28]``."""


def plain(tensors: Iterable[TensorLike]) -> list[Any]:
    """As JSON has them."""
    return [tensor if isinstance(tensor, str) else dict(tensor) for tensor in tensors]


def parse_tensors(value: Any) -> tuple[Tensor, ...]:
    """The tensors that a list describes: of mappings, of words, or of tensors.

    Raises:
        pydantic.ValidationError: It describes none.
    """
    return _tensors.validate_python(value)


def check_tensors(input_type: str, inputs: tuple[Tensor, ...]) -> None:
    """Make sure that those are named which are needed.

    Raises:
        ValueError: The input type says that there are tensors, and none is named, or the other way round.
    """
    if inputs and input_type != "tensors":
        raise ValueError(f"'inputs' belongs to the input type 'tensors'; this one is '{input_type}'")
    if not inputs and input_type == "tensors":
        raise ValueError("the input type 'tensors' needs 'inputs': a list such as ['image FP32[28, 28]']")

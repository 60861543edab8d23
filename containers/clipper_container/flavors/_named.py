"""Between the tensors of a batch and the arguments of a model that takes several, or one by its name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clipper_container.flavors._contract import LoadContext, NotLoadable
from clipper_container.flavors._tensors import converted, joined
from clipper_container.tensors import BYTES, FREE, Described

Array = npt.NDArray[Any]

_TEXT = frozenset({"str", "bytes"})


class Argument(NamedTuple):
    """What a model says of one of its inputs: numpy's type (``str`` for text, ``bytes``), and the shape, batch first.

    Open sizes are None, and so is a shape that the model does not tell.
    """

    name: str
    dtype: str
    shape: Sequence[int | None] | None = None


class Arguments:
    """The arrays that a model takes, made of a batch of tensors."""

    def __init__(self, taken: Sequence[Argument], context: LoadContext) -> None:
        """Hold what the model takes against what it was deployed with.

        Raises:
            NotLoadable: They differ; the sentence has both.
        """
        if context.tensors is None:
            raise ValueError("the input type is not tensors")
        described = {tensor.name: tensor for tensor in context.tensors.tensors}
        self._names: Sequence[str] | None = None
        if not context.tensors.is_single or len(taken) != 1:
            self._names = [argument.name for argument in taken]
            if set(self._names) != described.keys():
                raise NotLoadable(
                    f"The model takes the tensors {_listed(self._names)}, and it was deployed with "
                    f"{_listed(described)}: deploy it with inputs of these names."
                )
        for argument in taken:
            _check(argument, described[argument.name if self._names else ""])
        self._dtypes = [argument.dtype for argument in taken]
        self._batch_size = next((a.shape[0] for a in taken if a.shape and a.shape[0] is not None), None)

    def of(self, batch: Any) -> list[Array]:
        """One array for each argument, in the model's order and of its types.

        Args:
            batch: What the runtime gives: an array, or a dict of them by name.

        Raises:
            ValueError: Fractions for an argument of whole numbers, or one that it cannot hold.
        """
        arrays = [batch] if self._names is None else [batch[name] for name in self._names]
        return [_converted(array, dtype) for array, dtype in zip(arrays, self._dtypes, strict=True)]

    def calling(self, predict: Callable[[list[Array]], Any]) -> Callable[[Any], Any]:
        """``predict``, of arrays, as a function of a batch; of a model whose batch was fixed in pieces of that size."""
        size = self._batch_size
        if size is None:
            return lambda batch: predict(self.of(batch))

        def in_pieces(batch: Any) -> Any:
            arrays = self.of(batch)
            return joined([predict(piece) for piece in _pieces(arrays, size)], len(arrays[0]))

        return in_pieces


def _check(argument: Argument, tensor: Described) -> None:
    if (argument.dtype in _TEXT) != (tensor.datatype == BYTES):
        takes = "text" if argument.dtype in _TEXT else f"numbers ({argument.dtype})"
        raise NotLoadable(
            f"The model's input '{argument.name}' takes {takes}, and it was deployed with {tensor.datatype}."
        )
    if argument.shape is None:
        return
    theirs, ours = argument.shape[1:], tensor.shape
    fits = len(theirs) == len(ours) and all(a is None or b in (FREE, a) for a, b in zip(theirs, ours, strict=True))
    if not argument.shape or not fits:
        shown = ", ".join("?" if size is None else str(size) for size in argument.shape)
        raise NotLoadable(
            f"The model's input '{argument.name}' has the shape ({shown}), the batch first, and it was deployed with "
            f"{list(tensor.shape)} for one query."
        )


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(name or "one without a name" for name in names)


def _converted(array: Array, dtype: str) -> Array:
    if dtype == "bytes":
        return array
    if dtype != "str":
        return converted(array, np.dtype(dtype))
    texts = np.empty(array.size, object)  # an element of BYTES is bytes, and frameworks take text
    texts[:] = [element.decode("utf-8", "replace") for element in array.ravel()]
    return texts.reshape(array.shape)


def _pieces(arrays: list[Array], size: int) -> Iterator[list[Array]]:
    """The last one is filled up with its own last row."""
    count = len(arrays[0])
    for start in range(0, count, size):
        lacking = size - min(size, count - start)
        pieces = [array[start : start + size] for array in arrays]
        yield [np.concatenate([p, np.repeat(p[-1:], lacking, axis=0)]) if lacking else p for p in pieces]

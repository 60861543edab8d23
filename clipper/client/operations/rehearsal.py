"""Trying a model out before it is deployed."""

from collections.abc import Callable, Sequence
from typing import Any

from clipper.client.steps import Session, Steps, Work
from clipper.domain import InputType


def test_predict_function(
    _session: Session,  # noqa: PT019 (no test: a method that users know by this name)
    function: Callable[[Any], Any],
    xs: Sequence[Any],
    input_type: InputType,
    *,
    inputs: Any = (),  # noqa: PT028 (as above)
) -> Steps[list[Any]]:
    """Call a function of a batch, or an estimator, as a container would: packaged, loaded, called with these inputs.

    Nothing is sent to the server.

    Args:
        function: A function of a batch, or an estimator.
        xs: The inputs.
        input_type: What they are.
        inputs: Of the input type ``tensors``: a list of ``{"name", "datatype", "shape"}``.

    Returns:
        The outputs, one for each input, as a query would be answered.

    Raises:
        InvalidModel: It cannot be packaged.
        InvalidInput: One of the inputs is not of that type.
        ModelError: It raised, returned too few or too many outputs, or one that JSON cannot carry.
    """
    outputs: list[Any] = yield Work(lambda: _rehearse(function, xs, input_type, inputs))
    return outputs


def _rehearse(function: Callable[[Any], Any], xs: Sequence[Any], input_type: InputType, inputs: Any) -> list[Any]:
    from clipper.packaging.rehearsal import rehearse  # noqa: PLC0415 (the runtime and numpy: only for those who rehearse)

    return rehearse(function, xs, input_type, inputs)

"""ONNX, run by onnxruntime. A classifier with labels and probabilities answers by ``method``, as scikit-learn's do."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from clipper_container.flavors._contract import LoadContext, Loaded, NotLoadable
from clipper_container.flavors._frameworks import only_one, require
from clipper_container.flavors._named import Argument, Arguments
from clipper_container.flavors._tensors import in_batches_of, layout_of, per_row
from clipper_container.manifest import installed_version
from clipper_container.sentences import describe

_NUMPY_TYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16",
    "tensor(int8)": "int8", "tensor(int16)": "int16", "tensor(int32)": "int32", "tensor(int64)": "int64",
    "tensor(uint8)": "uint8", "tensor(uint16)": "uint16", "tensor(uint32)": "uint32", "tensor(uint64)": "uint64",
    "tensor(bool)": "bool", "tensor(string)": "str",
}  # fmt: skip
_LABELS, _PROBABILITIES = ("label", "output_label"), ("probabilities", "output_probability")
"""What converters of classifiers call their two outputs."""


def load(context: LoadContext) -> Loaded:
    """Starts a session on the CPU."""
    runtime = require("onnxruntime", context, package="onnxruntime")
    session = _session(runtime, context)
    inputs = [_argument(each) for each in session.get_inputs()]
    names = [each.name for each in inputs]
    outputs = _wanted([each.name for each in session.get_outputs()], context.method)

    def call(arrays: list[Any]) -> Any:
        fed = dict(zip(names, arrays, strict=True))
        return dict(zip(outputs, map(_array, session.run(outputs, fed)), strict=True))

    if context.tensors is not None:
        calling = Arguments(inputs, context).calling(call)
        return Loaded(lambda batch: per_row(calling(batch)))
    only_one("inputs", names)
    layout = layout_of(list(inputs[0].shape or ()), inputs[0].dtype, context)
    in_batches = in_batches_of(layout.batch_size, lambda batch: call([batch]))
    return Loaded(lambda batch: per_row(in_batches(layout.tensor(batch))), layout.width)


def _argument(declared: Any) -> Argument:
    if declared.type not in _NUMPY_TYPES:
        raise NotLoadable(
            f"The model's input '{declared.name}' is a {declared.type}, and a tensor of numbers or strings is expected."
        )
    shape = [size if isinstance(size, int) else None for size in declared.shape]
    return Argument(declared.name, _NUMPY_TYPES[declared.type], shape)


def _session(runtime: Any, context: LoadContext) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = context.threads
    options.inter_op_num_threads = 1
    try:
        return runtime.InferenceSession(str(context.path(context.entry())), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if "version" not in str(error).lower() and "opset" not in str(error).lower():
            raise
        raise NotLoadable(
            f"onnxruntime {installed_version('onnxruntime')}, which is installed here, does not know the format of "
            f"this model ({context.manifest.framework or 'ONNX'}): {describe(error).rstrip('.')}; "
            "upgrade onnxruntime, or export the model with an older opset."
        ) from error


def _wanted(names: list[str], method: str) -> list[str]:
    """The outputs to ask for.

    Raises:
        NotLoadable: Probabilities of a model that has none.
    """
    label = next((name for name in names if name in _LABELS), None)
    probabilities = next((name for name in names if name in _PROBABILITIES), None)
    if method == "predict_proba":
        if probabilities is None:
            raise NotLoadable(
                f"The model has no output of probabilities ({' or '.join(_PROBABILITIES)}; it has {', '.join(names)}): "
                "deploy it with method='predict'."
            )
        return [probabilities]
    return names if label is None or probabilities is None else [label]


def _array(output: Any) -> Any:
    """An output as an array; converters write probabilities as a list with a mapping per row."""
    if isinstance(output, list) and output and isinstance(output[0], Mapping):
        return np.array([[row[label] for label in sorted(row)] for row in output])
    return output

"""PyTorch: an exported program (``torch.export.save``, .pt2) or TorchScript (``torch.jit.save``, .pt)."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipper_container.flavors._contract import LoadContext, Loaded
from clipper_container.flavors._frameworks import only_one, only_predict, require
from clipper_container.flavors._named import Argument, Arguments
from clipper_container.flavors._tensors import in_batches_of, layout_of, per_row
from clipper_container.tensors import DATATYPES

EXPORTED_SUFFIX = ".pt2"

Program = tuple[Callable[..., Any], Sequence[Any], Sequence[Argument]]
"""What is called, torch's types of its arguments, and what they are like."""


def load(context: LoadContext) -> Loaded:
    """Loads the program onto the CPU; it is called without gradients."""
    only_predict(context)
    torch = require("torch", context, package="torch")
    torch.set_num_threads(context.threads)
    torch.set_num_interop_threads(1)
    path = context.path(context.entry())
    read = _exported if path.suffix == EXPORTED_SUFFIX else _scripted
    module, dtypes, inputs = read(torch, path, context)

    def call(arrays: list[Any]) -> Any:
        with torch.inference_mode():
            tensors = [torch.from_numpy(array).to(dtype) for array, dtype in zip(arrays, dtypes, strict=True)]
            return _arrays(torch, module(*tensors))

    if context.tensors is not None:
        calling = Arguments(inputs, context).calling(call)
        return Loaded(lambda batch: per_row(calling(batch)))
    only_one("inputs", [each.name for each in inputs])
    layout = layout_of(list(inputs[0].shape or ()), inputs[0].dtype, context)
    in_batches = in_batches_of(layout.batch_size, lambda batch: call([batch]))
    return Loaded(lambda batch: per_row(in_batches(layout.tensor(batch))), layout.width)


def _exported(torch: Any, path: Path, _context: LoadContext) -> Program:
    program = torch.export.load(path)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs, dtypes = [], []
    for name in program.graph_signature.user_inputs:
        shape = [size if isinstance(size, int) else None for size in values[name].shape]
        inputs.append(Argument(str(name), _numpy_type(values[name].dtype), shape))
        dtypes.append(values[name].dtype)
    return program.module(), dtypes, inputs


def _scripted(torch: Any, path: Path, context: LoadContext) -> Program:
    """TorchScript does not say what its tensors are like: they are as they were deployed."""
    with warnings.catch_warnings():
        # That TorchScript will be replaced concerns who saves a model, not who runs it.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(path, map_location="cpu").eval()
    names = [argument.name for argument in module.forward.schema.arguments[1:]]
    floating = next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), torch.float32)
    if context.tensors is None:
        taken = torch.int64 if context.input_type == "integers" else floating
        row: Sequence[int | None] = context.manifest.input_shape or [context.manifest.input_width]
        return module, [taken] * len(names), [Argument(name, _numpy_type(taken), [None, *row]) for name in names]
    described = {tensor.name: tensor.datatype for tensor in context.tensors.tensors}
    kinds = [DATATYPES.get(described.get(name, described.get("", "FP32")), "<f4") for name in names]
    dtypes = [torch.from_numpy(np.empty(0, kind)).dtype for kind in kinds]
    return module, dtypes, [Argument(name, np.dtype(kind).name) for name, kind in zip(names, kinds, strict=True)]


def _numpy_type(dtype: Any) -> str:
    """The names are the same; the one type that numpy has not is rounded from single precision."""
    name = str(dtype).removeprefix("torch.")
    return "float32" if name == "bfloat16" else name


def _arrays(torch: Any, outputs: Any) -> Any:
    if isinstance(outputs, torch.Tensor):
        if outputs.dtype is torch.bfloat16:
            outputs = outputs.float()
        return outputs.numpy()
    if isinstance(outputs, dict):
        return {str(name): _arrays(torch, value) for name, value in outputs.items()}
    return [_arrays(torch, value) for value in outputs]

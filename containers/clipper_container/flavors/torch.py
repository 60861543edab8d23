"""PyTorch: an exported program (``torch.export.save``, .pt2) or TorchScript (``torch.jit.save``, .pt)."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clipper_container.flavors._contract import LoadContext, Loaded
from clipper_container.flavors._frameworks import only_one, only_predict, require
from clipper_container.flavors._tensors import Layout, in_batches_of, layout_of, per_row

EXPORTED_SUFFIX = ".pt2"


def load(context: LoadContext) -> Loaded:
    """Loads the program onto the CPU; it is called without gradients."""
    only_predict(context)
    torch = require("torch", context, package="torch")
    torch.set_num_threads(context.threads)
    torch.set_num_interop_threads(1)
    path = context.path(context.entry())
    read = _exported if path.suffix == EXPORTED_SUFFIX else _scripted
    module, dtype, layout = read(torch, path, context)

    def call(batch: Any) -> Any:
        with torch.inference_mode():
            return _arrays(torch, module(torch.from_numpy(batch).to(dtype)))

    in_batches = in_batches_of(layout.batch_size, call)
    return Loaded(lambda batch: per_row(in_batches(layout.tensor(batch))), layout.width)


def _exported(torch: Any, path: Path, context: LoadContext) -> tuple[Callable[[Any], Any], Any, Layout]:
    program = torch.export.load(path)
    inputs = list(program.graph_signature.user_inputs)
    only_one("inputs", [str(name) for name in inputs])
    value = next(node.meta["val"] for node in program.graph.nodes if node.name == inputs[0])
    shape = [size if isinstance(size, int) else None for size in value.shape]
    return program.module(), value.dtype, layout_of(shape, _numpy_type(value.dtype), context)


def _scripted(torch: Any, path: Path, context: LoadContext) -> tuple[Callable[[Any], Any], Any, Layout]:
    with warnings.catch_warnings():
        # That TorchScript will be replaced concerns who saves a model, not who runs it.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(path, map_location="cpu").eval()
    floating = next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), torch.float32)
    taken = torch.int64 if context.input_type == "integers" else floating
    row: Sequence[int | None] = context.manifest.input_shape or [context.manifest.input_width]
    return module, taken, layout_of([None, *row], _numpy_type(taken), context)


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

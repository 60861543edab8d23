"""PyTorch: an exported program, TorchScript, or a live module, which is exported for the user."""

import importlib
import inspect
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clipper.domain import InputType
from clipper.errors import InvalidModel
from clipper.manifest import OutputKind
from clipper.packaging.content import Content
from clipper.packaging.tensors import Tensor, described, kind_of

FLAVOR = "torch"
SUFFIXES = (".pt2", ".pt", ".pth", ".ts", ".torchscript")
EXPORTED_ENTRY, SCRIPTED_ENTRY = "model.pt2", "model.pt"
MODULES = frozenset({"torch"})

_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool",
    13: "bfloat16",
}  # fmt: skip
"""`torch._export.serde.schema.ScalarType`."""


def looks_like(path: Path) -> bool:
    """Whether it may be a file of PyTorch's."""
    return path.is_file() and path.suffix in SUFFIXES


def saved(path: Path, _method: str) -> Content:
    """What to package of a file. Nothing in it is loaded: it is an archive whose table of contents tells.

    Raises:
        InvalidModel: It holds weights or a pickled module, which only the code of its author can load, or it is no
            archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("/archive_format") for name in names) or path.suffix == ".pt2":
                return _exported(path, archive, {})
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InvalidModel(f"'{path}' is no file that torch.export.save or torch.jit.save wrote: {error}.") from error
    if any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names):
        return Content(FLAVOR, SCRIPTED_ENTRY, {SCRIPTED_ENTRY: path}, {}, "floats", framework="TorchScript")
    raise InvalidModel(
        f"'{path}' holds weights or a pickled module, which cannot be run without the code that made it: "
        "save the model with torch.export.save (.pt2) or torch.jit.save, or deploy the module itself from Python "
        "with an example_input."
    )


def live(model: Any, directory: Path, example: Any, input_type: InputType | None) -> Content:
    """Saves a program, or exports a module by running it on two copies of the example.

    Raises:
        InvalidModel: It cannot be exported, or there is no example to export it with.
    """
    torch: Any = importlib.import_module("torch")  # present, since the model is made of it
    version = str(torch.__version__).partition("+")[0]
    about: dict[str, Any] = {"packages": {"torch": version}, "framework": f"torch {version}"}
    if isinstance(model, torch.export.ExportedProgram):
        return _saved_program(torch, model, directory, {})
    if isinstance(model, torch.jit.ScriptModule):
        path = directory / SCRIPTED_ENTRY
        with _quiet():
            torch.jit.save(model, path)
        return Content(FLAVOR, SCRIPTED_ENTRY, {SCRIPTED_ENTRY: path}, input_type="floats", **about)
    if not isinstance(model, torch.nn.Module):
        raise InvalidModel(f"Of PyTorch a module or a program can be deployed; a {type(model).__qualname__} came.")
    if example is None:
        raise InvalidModel(
            f"The module {type(model).__qualname__} is exported by running it: give example_input, one input in the "
            "shape that the module takes, without the dimension of the batch."
        )
    batches = _batches(torch, model, example, input_type)
    with _quiet(), _evaluating(model):
        try:
            any_batch = {0: torch.export.Dim.DYNAMIC}
            program = torch.export.export(model, batches, dynamic_shapes=tuple(any_batch for _ in batches))
            with torch.no_grad():
                outputs = model(*batches)
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            shapes = ", ".join(str(tuple(batch.shape[1:])) for batch in batches)
            raise InvalidModel(
                f"The module {type(model).__qualname__} cannot be exported for batches of any size from an input of "
                f"the shape {shapes}: {type(error).__name__}: {first} "
                "Export or script it yourself and deploy the file, or deploy a function of a batch that calls it."
            ) from error
    return _saved_program(torch, program, directory, {"output_kind": _output_kind(torch, outputs)})


def _saved_program(torch: Any, program: Any, directory: Path, about: Mapping[str, Any]) -> Content:
    path = directory / EXPORTED_ENTRY
    with _quiet():
        torch.export.save(program, path)
    with zipfile.ZipFile(path) as archive:
        return _exported(path, archive, about)


def _batches(torch: Any, model: Any, example: Any, input_type: InputType | None) -> tuple[Any, ...]:
    """The arguments of the module: one, or those that a mapping has by name, in the order in which it takes them."""
    if not isinstance(example, Mapping):
        return (_batch(torch, model, example, input_type),)
    order = [name for name in inspect.signature(model.forward).parameters if name in example]
    if len(order) != len(example):
        unknown = ", ".join(sorted(set(map(str, example)) - set(order)))
        raise InvalidModel(f"The module {type(model).__qualname__} takes no {unknown}, which example_input has.")
    return tuple(_batch(torch, model, example[name], None) for name in order)


def _batch(torch: Any, model: Any, example: Any, input_type: InputType | None) -> Any:
    """Two copies of the example, so that the export does not take the batch for a constant."""
    tensor = example if isinstance(example, torch.Tensor) else torch.as_tensor(example)
    whole = input_type == "integers" if input_type else not tensor.is_floating_point()
    floating = next((p.dtype for p in model.parameters() if p.dtype.is_floating_point), torch.float32)
    wanted = (tensor.dtype if not tensor.is_floating_point() else torch.int64) if whole else floating
    return tensor.detach().to(wanted).unsqueeze(0).repeat(2, *(1 for _ in tensor.shape))


def _output_kind(torch: Any, outputs: Any) -> OutputKind:
    return kind_of((None, *outputs.shape[1:])) if isinstance(outputs, torch.Tensor) else "json"


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout and the like; afterwards every part trains or not as it did."""
    training = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, trains in training.items():
            part.training = trains


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the framework says about itself while it exports and saves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _exported(path: Path, archive: zipfile.ZipFile, about: Mapping[str, Any]) -> Content:
    names = archive.namelist()
    inputs: list[tuple[str, Tensor]] = []
    version = None
    program = next((name for name in names if name.endswith("/models/model.json")), None)
    if program is not None:
        description = json.loads(archive.read(program))
        # Another version of torch's may write it otherwise; then what loads it tells what it takes.
        with suppress(KeyError, TypeError, ValueError):
            version = str(description["torch_version"]).partition("+")[0]
            inputs = _program_inputs(description["graph_module"])
    tensor = inputs[0][1] if len(inputs) == 1 else None
    return Content(
        FLAVOR,
        EXPORTED_ENTRY,
        {EXPORTED_ENTRY: path},
        {"torch": version} if version else {},
        tensor.input_type if tensor else "tensors" if inputs else "floats",
        tensor.width if tensor else None,
        framework=f"torch {version}" if version else "torch",
        input_shape=tensor.row_shape if tensor else None,
        inputs=described(inputs),
        **about,
    )


def _program_inputs(module: Any) -> list[tuple[str, Tensor]]:
    """The program's inputs, by name."""
    specs = [spec["user_input"]["arg"] for spec in module["signature"]["input_specs"] if "user_input" in spec]
    names = [str(spec["as_tensor"]["name"]) for spec in specs]
    values = module["graph"]["tensor_values"]
    return [
        (name, Tensor(_DTYPES[meta["dtype"]], tuple(size.get("as_int") for size in meta["sizes"])))
        for name, meta in ((name, values[name]) for name in names)
    ]

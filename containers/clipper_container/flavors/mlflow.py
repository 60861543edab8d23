"""MLflow: a model directory with the flavor ``python_function``, called through ``mlflow.pyfunc``."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from clipper_container.flavors._contract import LoadContext, Loaded, NotLoadable
from clipper_container.flavors._frameworks import NUMBERS, only_one, only_predict, require
from clipper_container.flavors._tensors import Layout, layout_of, per_row


def load(context: LoadContext) -> Loaded:
    """Loads the model; its signature says whether it takes a tensor, columns, or whatever comes."""
    only_predict(context)
    # A serving process calls nobody but its frontends.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    pyfunc = require("mlflow.pyfunc", context, package="mlflow")
    model = pyfunc.load_model(str(context.path(context.entry())))
    schema = model.metadata.get_input_schema()
    if schema is None:
        return Loaded(lambda batch: _outputs(model.predict(batch)), context.manifest.input_width)
    if schema.is_tensor_spec():
        layout = _tensor(schema, context)
        return Loaded(lambda batch: _outputs(model.predict(layout.tensor(batch))), layout.width)
    frame = _frames(schema, context)
    width = len(schema.inputs) if context.input_type in NUMBERS else None
    return Loaded(lambda batch: _outputs(model.predict(frame(batch))), width)


def _tensor(schema: Any, context: LoadContext) -> Layout:
    only_one("inputs", [str(each.name) for each in schema.inputs])
    (spec,) = schema.inputs
    shape = [None if size < 0 else int(size) for size in spec.shape]
    dtype = "str" if spec.type.kind in "US" else spec.type.name
    return layout_of(shape, dtype, context)


def _frames(schema: Any, context: LoadContext) -> Callable[[Any], Any]:
    """From a batch to a data frame with the signature's columns and types."""
    pd = require("pandas", context, package="pandas")
    names = schema.input_names()
    if context.input_type == "json":
        return pd.DataFrame  # type: ignore[no-any-return]  # of a package that is not always here
    if context.input_type == "strings":
        only_one("columns", names)
        return lambda batch: pd.DataFrame({names[0]: batch})
    types = dict(zip(names, schema.pandas_types(), strict=True))
    if context.input_type not in NUMBERS or any(np.dtype(kind).kind not in "biuf" for kind in types.values()):
        raise NotLoadable(
            f"The model takes the columns {', '.join(names)}, which are not all numbers, and it was deployed with the "
            f"input type '{context.input_type}': deploy it with 'json', where each input is an object of columns."
        )
    return lambda batch: pd.DataFrame(batch, columns=names).astype(types)


def _outputs(outputs: Any) -> Any:
    """Frames become an object per row, or its value where there is one column; arrays as everywhere."""
    if hasattr(outputs, "to_dict") and hasattr(outputs, "columns"):
        columns = list(outputs.columns)
        return outputs[columns[0]].tolist() if len(columns) == 1 else outputs.to_dict("records")
    return per_row(outputs) if isinstance(outputs, np.ndarray) else outputs

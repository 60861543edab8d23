"""TensorFlow: a SavedModel directory, or a Keras model saved as ``.keras``."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clipper_container.flavors._contract import LoadContext, Loaded, NotLoadable
from clipper_container.flavors._frameworks import only_one, only_predict, require
from clipper_container.flavors._tensors import Layout, in_batches_of, layout_of, per_row

KERAS_SUFFIX = ".keras"
SIGNATURE = "serving_default"


def load(context: LoadContext) -> Loaded:
    """Loads the model onto the CPU and traces it once, for batches of any size."""
    only_predict(context)
    # Before the import: three lines of advice about the build are no last words of a model.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tf = require("tensorflow", context, package="tensorflow")
    tf.config.threading.set_intra_op_parallelism_threads(context.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    path = context.path(context.entry())
    read = _keras if path.suffix == KERAS_SUFFIX else _saved_model
    function, dtype, layout = read(tf, path, context)

    def call(batch: Any) -> Any:
        tensor = tf.constant(batch)
        return _arrays(tf, function(tensor if tensor.dtype.name == dtype else tf.cast(tensor, dtype)))

    in_batches = in_batches_of(layout.batch_size, call)
    return Loaded(lambda batch: per_row(in_batches(layout.tensor(batch))), layout.width)


def _keras(tf: Any, path: Path, context: LoadContext) -> tuple[Callable[[Any], Any], str, Layout]:
    # A model is code: who may deploy may run it, so a Lambda layer is no danger of its own here.
    model = tf.keras.models.load_model(path, compile=False, safe_mode=False)
    inputs = model.inputs or []  # none before a first batch has built it
    only_one("inputs", [str(tensor.name) for tensor in inputs])
    shape, dtype = list(inputs[0].shape), str(inputs[0].dtype)
    # One trace for every batch size: without a signature each size that comes would be traced, with a query waiting.
    spec = tf.TensorSpec(shape, dtype)
    traced = tf.function(lambda batch: model(batch, training=False), input_signature=[spec])
    return traced.get_concrete_function(), dtype, layout_of(shape, _numpy_type(dtype), context)


def _saved_model(tf: Any, path: Path, context: LoadContext) -> tuple[Callable[[Any], Any], str, Layout]:
    model = tf.saved_model.load(str(path))
    signatures = model.signatures
    if SIGNATURE not in signatures:
        raise NotLoadable(
            f"The SavedModel has no signature '{SIGNATURE}' (it has {', '.join(sorted(signatures)) or 'none'}): "
            "save it with model.export(DIR) of Keras, or with tf.saved_model.save(model, DIR, signatures=function)."
        )
    function = signatures[SIGNATURE]
    _, inputs = function.structured_input_signature
    only_one("inputs", sorted(inputs))
    ((name, spec),) = inputs.items()
    if spec.shape.rank is None:
        raise NotLoadable(f"The SavedModel's input '{name}' has no known shape: save it with a TensorSpec of its rank.")

    def call(batch: Any) -> Any:
        return function(**{name: batch})

    # The functions live as long as the object that was loaded.
    call.model = model  # type: ignore[attr-defined]  # an attribute that keeps it
    return call, spec.dtype.name, layout_of(spec.shape.as_list(), _numpy_type(spec.dtype.name), context)


def _numpy_type(name: str) -> str:
    return {"string": "str", "bfloat16": "float32"}.get(name, name)


def _arrays(tf: Any, outputs: Any) -> Any:
    if isinstance(outputs, dict):
        return {str(name): _arrays(tf, value) for name, value in outputs.items()}
    if isinstance(outputs, list | tuple):
        return [_arrays(tf, value) for value in outputs]
    if outputs.dtype == tf.bfloat16:
        outputs = tf.cast(outputs, tf.float32)
    return outputs.numpy()

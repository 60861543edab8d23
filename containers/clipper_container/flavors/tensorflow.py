"""TensorFlow: a SavedModel directory, or a Keras model saved as ``.keras``."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clipper_container.flavors._contract import LoadContext, Loaded, NotLoadable
from clipper_container.flavors._frameworks import only_one, only_predict, require
from clipper_container.flavors._named import Argument, Arguments
from clipper_container.flavors._tensors import in_batches_of, layout_of, per_row

KERAS_SUFFIX = ".keras"
SIGNATURE = "serving_default"

Program = tuple[Callable[..., Any], Sequence[str], Sequence[Argument]]
"""What is called, TensorFlow's types of its arguments, and what they are like."""


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
    function, dtypes, inputs = read(tf, path)

    def call(arrays: list[Any]) -> Any:
        tensors = [tf.constant(array) for array in arrays]
        return _arrays(
            tf,
            function(
                *(t if t.dtype.name == dtype else tf.cast(t, dtype) for t, dtype in zip(tensors, dtypes, strict=True))
            ),
        )

    if context.tensors is not None:
        calling = Arguments(inputs, context).calling(call)
        return Loaded(lambda batch: per_row(calling(batch)))
    only_one("inputs", [each.name for each in inputs])
    layout = layout_of(list(inputs[0].shape or ()), inputs[0].dtype, context)
    in_batches = in_batches_of(layout.batch_size, lambda batch: call([batch]))
    return Loaded(lambda batch: per_row(in_batches(layout.tensor(batch))), layout.width)


def _keras(tf: Any, path: Path) -> Program:
    # A model is code: who may deploy may run it, so a Lambda layer is no danger of its own here.
    model = tf.keras.models.load_model(path, compile=False, safe_mode=False)
    inputs = model.inputs or []  # none before a first batch has built it
    # One trace for every batch size: without a signature each size that comes would be traced, with a query waiting.
    specs = [tf.TensorSpec(list(each.shape), str(each.dtype)) for each in inputs]
    structure = model.input if len(inputs) > 1 else 0  # in whatever the author put them; one stands alone

    def answer(*tensors: Any) -> Any:
        return model(tf.nest.pack_sequence_as(structure, tensors), training=False)

    traced = tf.function(answer, input_signature=specs).get_concrete_function() if inputs else answer
    arguments = [Argument(each.name, _numpy_type(str(each.dtype)), list(each.shape)) for each in inputs]
    return traced, [str(each.dtype) for each in inputs], arguments


def _saved_model(tf: Any, path: Path) -> Program:
    model = tf.saved_model.load(str(path))
    signatures = model.signatures
    if SIGNATURE not in signatures:
        raise NotLoadable(
            f"The SavedModel has no signature '{SIGNATURE}' (it has {', '.join(sorted(signatures)) or 'none'}): "
            "save it with model.export(DIR) of Keras, or with tf.saved_model.save(model, DIR, signatures=function)."
        )
    function = signatures[SIGNATURE]
    _, inputs = function.structured_input_signature
    arguments = []
    for name, spec in inputs.items():
        if spec.shape.rank is None:
            raise NotLoadable(
                f"The SavedModel's input '{name}' has no known shape: save it with a TensorSpec of its rank."
            )
        arguments.append(Argument(name, _numpy_type(spec.dtype.name), spec.shape.as_list()))

    def call(*tensors: Any) -> Any:
        return function(**dict(zip(inputs, tensors, strict=True)))

    # The functions live as long as the object that was loaded.
    call.model = model  # type: ignore[attr-defined]  # an attribute that keeps it
    return call, [spec.dtype.name for spec in inputs.values()], arguments


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

"""An adapter: the model is elsewhere, behind a server of the Open Inference Protocol (Triton, MLServer, KServe, ...).

A batch is one ModelInfer, whose first dimension are the rows; its timeout is what is left of the rows' deadlines. The
artifact has no model, only the server's address. When the model is not there any more, the replica ends, and is started
again until it is: so what cannot be reached is never served as ready.
"""

import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy.typing as npt

from clipper_container.flavors import _oip_messages as messages
from clipper_container.flavors._contract import BatchFailed, LoadContext, Loaded, NotLoadable
from clipper_container.flavors._frameworks import only_one, only_predict, require
from clipper_container.flavors._named import Argument, Arguments
from clipper_container.flavors._tensors import Layout, in_batches_of, layout_of, per_row
from clipper_container.tensors import BYTES

PATIENCE_S = 5.0
"""How long a server may take to have the model ready."""
LOOK_S = 1.0
LOOKS_IN_VAIN = 3
"""So many looks in a row at a model that is not ready, and it is given up."""
CALL_TIMEOUT_S = 2.0
"""Of calls that say whether a model is there."""
_DATATYPES = {"doubles": "FP64", "floats": "FP32", "integers": "INT32", "strings": "BYTES", "bytes": "BYTES"}
_OF_THE_ROWS = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE", "INTERNAL", "UNKNOWN", "RESOURCE_EXHAUSTED"})
"""Errors that some row, or their number, may be the reason of: parts of the batch are tried by themselves."""
_ADDRESS = re.compile(r"(grpcs?)://([^/\s]+:\d+)/([^/\s]+)(?:/versions/([^/\s]+))?")


class Address(NamedTuple):
    """``grpc://host:port/model``, or ``grpcs`` for TLS, and perhaps ``/versions/2`` at the end."""

    tls: bool
    target: str
    model: str
    version: str

    def __str__(self) -> str:
        version = f"/versions/{self.version}" if self.version else ""
        return f"grpc{'s' if self.tls else ''}://{self.target}/{self.model}{version}"


def parse(text: str) -> Address:
    """The address in ``text``.

    Raises:
        ValueError: It is none; the sentence says what one looks like.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(
            f"The address of a model behind the Open Inference Protocol is 'grpc://host:port/model' (grpcs for TLS, "
            f"'/versions/2' at its end for one version), not '{text}'."
        )
    return Address(found[1] == "grpcs", found[2], found[3], found[4] or "")


def load(context: LoadContext) -> Loaded:
    """Waits until the server has the model ready, and asks what it takes."""
    only_predict(context)
    address = _address_in(context)
    server = _Server(require("grpc", context, package="grpcio"), messages.methods(context), address)
    server.wait_until_ready(PATIENCE_S)
    inputs = _inputs_of(server.metadata(), context)
    asking = _Asking(server, [(each.name, each.datatype) for each in inputs], context)
    threading.Thread(target=_watch, args=(server, context.give_up), name="watch", daemon=True).start()
    if context.tensors is not None:
        calling = Arguments([each.argument for each in inputs], context).calling(asking.ask)
        return Loaded(lambda batch: per_row(calling(batch)))
    layout = _layout(inputs, context)
    in_batches = in_batches_of(layout.batch_size, lambda array: asking.ask([array]))
    return Loaded(lambda batch: per_row(in_batches(layout.tensor(batch))), layout.width)


def _address_in(context: LoadContext) -> Address:
    try:
        return parse(context.entry())
    except ValueError as error:
        raise NotLoadable(str(error)) from error


class _Input(NamedTuple):
    """What the model says of an input: the protocol's type, and the shape with the batch first."""

    name: str
    datatype: str
    shape: tuple[int | None, ...]

    @property
    def argument(self) -> Argument:
        """The same as flavors have it; bytes are sent as they came."""
        kind = "bytes" if self.datatype == BYTES else messages.NUMPY_TYPES[self.datatype]
        return Argument(self.name, kind, self.shape)


class _Tensor(NamedTuple):
    """An input of a request."""

    name: str
    datatype: str
    array: npt.NDArray[Any]


class _Server:
    """Calls of one model at its server. For any thread."""

    def __init__(self, grpc: Any, methods: Any, address: Address) -> None:
        self.address = address
        self._grpc = grpc
        self._methods = methods
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        # A server that comes back is noticed as soon as an external container would be.
        options = [*unlimited, ("grpc.max_reconnect_backoff_ms", 1000), ("grpc.initial_reconnect_backoff_ms", 100)]
        if address.tls:
            self._channel = grpc.secure_channel(address.target, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.insecure_channel(address.target, options)
        self._calls = {
            name: self._channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            for name, method in methods.items()
        }

    def problem(self) -> str | None:
        """Why the model is not ready; None: it is."""
        try:
            answer = self._call("ModelReady", CALL_TIMEOUT_S, name=self.address.model, version=self.address.version)
        except self._grpc.RpcError as error:
            return f"{self.address} cannot be reached: {_told(error)}"
        return None if answer.ready else f"{self.address} says that the model is not ready"

    def wait_until_ready(self, patience_s: float) -> None:
        """Returns as soon as the model is ready.

        Raises:
            NotLoadable: It is not, for so long.
        """
        until_s = time.monotonic() + patience_s
        while (problem := self.problem()) is not None:
            if time.monotonic() >= until_s:
                raise NotLoadable(f"{problem}. It is asked again after a while.")
            time.sleep(0.2)  # the server cannot be waited for otherwise

    def metadata(self) -> Any:
        """What the model takes and returns.

        Raises:
            NotLoadable: The server does not say.
        """
        try:
            return self._call("ModelMetadata", CALL_TIMEOUT_S, name=self.address.model, version=self.address.version)
        except self._grpc.RpcError as error:
            raise NotLoadable(f"{self.address} does not say what the model takes: {_told(error)}.") from error

    def infer(self, tensors: Sequence[_Tensor], left_s: Callable[[], float]) -> Any:
        """The outputs by name; asked once more where the connection broke.

        Raises:
            BatchFailed: There is no answer in time, or the model is not there any more.
            Refused: The server says that something is wrong with what was asked.
        """
        fields = {
            "model_name": self.address.model,
            "model_version": self.address.version,
            "inputs": [{"name": name, "datatype": kind, "shape": array.shape} for name, kind, array in tensors],
            "raw_input_contents": [messages.raw_bytes(array) for _, _, array in tensors],
        }
        for is_last in (False, True):
            try:
                return messages.outputs_of(self._call("ModelInfer", left_s(), **fields))
            except self._grpc.RpcError as error:
                self._judge(error, is_last=is_last)
        raise AssertionError("the last try returns or raises")

    def _judge(self, error: Any, *, is_last: bool) -> None:
        """Raises what an error means; returns where it is worth to try again."""
        code = error.code().name
        if code in {"DEADLINE_EXCEEDED", "CANCELLED"}:
            raise BatchFailed(f"{self.address} did not answer in time.", late=True) from error
        if code not in _OF_THE_ROWS:
            problem = self.problem()
            if problem is not None:
                raise Gone(problem) from error
            if code == "UNAVAILABLE" and not is_last:
                return
        raise Refused(f"{self.address} answered {_told(error)}") from error

    def _call(self, method: str, timeout_s: float, **fields: Any) -> Any:
        timeout = None if math.isinf(timeout_s) else max(timeout_s, 0.001)
        return self._calls[method](self._methods[method].request(**fields), timeout=timeout)


class Refused(Exception):
    """The server does not answer this."""


class Gone(BatchFailed):
    """The model is not there any more."""


class _Asking(NamedTuple):
    """How batches become requests."""

    server: _Server
    kinds: Sequence[tuple[str, str]]
    context: LoadContext

    def ask(self, arrays: Sequence[npt.NDArray[Any]]) -> Any:
        """The outputs for a batch, one array for each input."""
        tensors = [_Tensor(*kind, array) for kind, array in zip(self.kinds, arrays, strict=True)]
        try:
            return self.server.infer(tensors, self.context.left_s)
        except Gone as gone:
            self.context.give_up(f"{gone}.")
            raise


def _inputs_of(metadata: Any, context: LoadContext) -> list[_Input]:
    """The model's inputs; where the server does not say, as it was deployed.

    Raises:
        NotLoadable: The protocol has nothing for the input type, or the model takes what is no tensor of numbers.
    """
    if context.tensors is None and context.input_type not in _DATATYPES:
        raise NotLoadable(
            f"The Open Inference Protocol has tensors of numbers and text, no '{context.input_type}': "
            f"deploy the model with {', '.join(_DATATYPES)} or tensors."
        )
    inputs = [
        _Input(each.name, each.datatype, tuple(size if size > 0 else None for size in each.shape))
        for each in metadata.inputs
    ]
    for each in inputs:
        if each.datatype not in messages.NUMPY_TYPES:
            raise NotLoadable(
                f"The model's input '{each.name}' is of the type {each.datatype}, and numbers or text are expected."
            )
    return inputs or _as_deployed(context)


def _as_deployed(context: LoadContext) -> list[_Input]:
    if context.tensors is not None:
        return [
            _Input(each.name or "input-0", each.datatype, (None, *(size if size > 0 else None for size in each.shape)))
            for each in context.tensors.tensors
        ]
    datatype = _DATATYPES[context.input_type]
    return [_Input("input-0", datatype, (None,) if datatype == BYTES else (None, context.manifest.input_width))]


def _layout(inputs: Sequence[_Input], context: LoadContext) -> Layout:
    only_one("inputs", [each.name for each in inputs])
    (taken,) = inputs
    if taken.datatype == BYTES:  # a value is text or bytes, as it was deployed
        context = context._replace(input_type=context.input_type.replace("bytes", "strings"))
    return layout_of(list(taken.shape), messages.NUMPY_TYPES[taken.datatype], context)


def _watch(server: _Server, give_up: Callable[[str], None]) -> None:
    """Gives up when the model has gone while nobody asked for it."""
    pause, in_vain = threading.Event(), 0
    while in_vain < LOOKS_IN_VAIN:
        pause.wait(LOOK_S)
        problem = server.problem()
        in_vain = 0 if problem is None else in_vain + 1
    give_up(f"{problem}.")


def _told(error: Any) -> str:
    """What the server, or the way to it, says."""
    return f"{error.code().name}: {error.details() or 'no details'}".rstrip(".")

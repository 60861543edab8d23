"""Predictions."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from clipper.client.arrays import memory_of, rows_of
from clipper.client.prediction import Prediction, from_body
from clipper.client.steps import Call, Reply, Request, Session, Steps
from clipper.errors import InvalidJson, Unavailable, UnsupportedMediaType
from clipper.json_encoding import encode


def predict(  # noqa: D417 (the connection passes itself)
    session: Session,
    app: str,
    x: Any,
    *,
    uid: str | None = None,
    timeout_ms: float | None = None,
    version: str | int | None = None,
    explain: bool = False,
) -> Steps[Prediction]:
    """Ask an application.

    Args:
        app: The application's name.
        x: One input: a flat list or 1-D array of numbers, a string, bytes, for ``json`` any JSON value, for ``tensors``
            an array or nested lists, several of them in a dict by name. Of numpy arrays the memory is sent, which costs
            a fraction of their numbers as text.
        uid: The user on whose behalf this is asked: the context of policies that learn for each user.
        timeout_ms: Shorter than the application's SLO, if the answer is needed sooner.
        version: Force a version of the model (policy ``single`` only).
        explain: Ask for the decision behind the answer.

    Raises:
        UnknownApplication: There is no such application.
        InvalidInput: The input has another type or width than the application takes.
        Overloaded, DeadlineExceeded, NoModelReady, ModelError: No answer, and the application has no default output.
    """
    options = query_options(uid, timeout_ms, version, explain)
    if session.protocol == "grpc":
        from clipper.client import messages  # noqa: PLC0415  # gRPC is not imported by programs that do not use it

        yield from grpc_address(session)
        called = yield Call("Predict", messages.predict_request(app, x, options), repeatable=True)
        return messages.prediction(called.message)
    return from_body((yield from _asked(session, app, "input", x, options)))


def predict_batch(
    session: Session,
    app: str,
    xs: Sequence[Any] | Mapping[str, Any],
    *,
    uid: str | None = None,
    timeout_ms: float | None = None,
    version: str | int | None = None,
    explain: bool = False,
) -> Steps[list[Prediction]]:
    """Ask an application about several inputs at once: a list of inputs, a 2-D array, or a dict of arrays by name.

    Of arrays the batch is the first dimension.

    Each input is a query of its own. One that fails has its ``error`` set and no output; the others are unharmed.

    Raises:
        UnknownApplication: There is no such application.
        InvalidInput: One of the inputs has another type or width than the application takes.
    """
    if not hasattr(xs, "tolist") and not isinstance(xs, Mapping):
        xs = list(xs)
    options = query_options(uid, timeout_ms, version, explain)
    if session.protocol == "grpc":
        from clipper.client import messages  # noqa: PLC0415  # as above

        yield from grpc_address(session)
        called = yield Call("PredictBatch", messages.batch_request(app, rows_of(xs), options), repeatable=True)
        return [messages.prediction(one) for one in called.message.predictions]
    body = yield from _asked(session, app, "input_batch", xs, options)
    return [from_body(element) for element in body["batch_predictions"]]


def _asked(session: Session, app: str, field: str, x: Any, options: Mapping[str, Any]) -> Steps[dict[str, Any]]:
    """The answer to ``x``; numbers go as memory where they can, unless the server is one that takes only JSON."""
    memory = memory_of(x) if session.takes_arrays else None
    if memory is not None:
        head = encode({field: memory.description, **options})
        reply = yield from post(session, app, "predict", head + memory.data, json_bytes=len(head), repeatable=True)
        try:
            return _body_of(reply)
        except (InvalidJson, UnsupportedMediaType):
            session.takes_arrays = False
    given = rows_of(x) if field == "input_batch" else x
    return _body_of((yield from post(session, app, "predict", encode({field: given, **options}), repeatable=True)))


def _body_of(reply: Reply) -> dict[str, Any]:
    body: dict[str, Any] = reply.json()
    return body


def post(
    session: Session, app: str, verb: str, body: bytes, *, repeatable: bool, json_bytes: int | None = None
) -> Steps[Reply]:
    """Ask the query address, which is asked of the admin API where it is not known."""
    if session.query_url is None:
        session.query_url = yield from _discover(session)
    where = f"/{quote(app, safe='')}/{verb}"
    reply: Reply = yield Request("POST", where, body, to="query", repeatable=repeatable, json_bytes=json_bytes)
    return reply


def _discover(session: Session) -> Steps[str]:
    status = yield from get_status(session)
    if not status.get("query"):
        raise Unavailable("The server has no query address yet; pass query_url to connect().")
    return str(status["query"])


def grpc_address(session: Session) -> Steps[str]:
    """Where gRPC is taken; asked of the admin API where it is not known."""
    if session.grpc_address is None:
        status = yield from get_status(session)
        if not status.get("grpc"):
            raise Unavailable("The server has no gRPC address; pass grpc_address to connect().")
        session.grpc_address = str(status["grpc"])
    return session.grpc_address


def get_status(_session: Session) -> Steps[dict[str, Any]]:
    """What ``clipper status`` shows: addresses, readiness, applications, models with versions, replicas, rates."""
    reply = yield Request("GET", "/admin/status", repeatable=True)
    status: dict[str, Any] = reply.json()
    return status


def query_options(
    uid: str | None, timeout_ms: float | None, version: str | int | None, explain: bool
) -> dict[str, Any]:
    """The optional fields of a query, as every protocol has them."""
    options: dict[str, Any] = {"explain": True} if explain else {}
    if uid is not None:
        options["uid"] = uid
    if timeout_ms is not None:
        options["timeout_ms"] = timeout_ms
    if version is not None:
        options["version"] = str(version)
    return options

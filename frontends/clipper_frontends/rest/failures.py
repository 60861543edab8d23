"""Whatever goes wrong inside a FastAPI application, in the shape of our errors."""

from collections.abc import Iterator
from inspect import isclass

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from clipper.errors import (
    Cancelled,
    ClipperError,
    Forbidden,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    Unauthenticated,
    UnsupportedMediaType,
)
from clipper.validation import faults_as_error
from clipper_frontends.rest.reply import Reply, reply_of_error

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

_CLASS_OF_STATUS: dict[int, type[ClipperError]] = {
    error.http_status: error
    for error in (Unauthenticated, Forbidden, NotFound, MethodNotAllowed, TooLarge, UnsupportedMediaType)
}


def answer_failures(app: FastAPI, elsewhere: str) -> None:
    """Make ``app`` answer every failure with ``{"error", "code"}``; a traceback goes to the log, never to a caller.

    Args:
        app: The application.
        elsewhere: The sentence for who asks here what another port serves.
    """
    app.state.elsewhere = elsewhere
    app.add_exception_handler(ClipperError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_fault)


def response(reply: Reply) -> Response:
    """A reply for the ordinary road."""
    answer = Response(reply.body, reply.status, media_type=reply.content_type.decode())
    answer.raw_headers.extend(reply.headers)
    return answer


async def _on_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return response(reply_of_error(error if isinstance(error, ClipperError) else InternalError(str(error))))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(getattr(error, "headers", None) or {})
    path, method = request.scope["path"], request.method
    match status:
        case 404:
            sentence = f"There is nothing at '{path}'; /docs shows what there is. {request.app.state.elsewhere}"
        case 405:
            headers["Allow"] = ", ".join(_methods_of(request))
            sentence = f"'{path}' does not take the method {method}; it takes {headers['Allow']}."
        case _:
            sentence = f"{getattr(error, 'detail', error)}".rstrip(".") + "."
    kind = _CLASS_OF_STATUS.get(status, InvalidRequest if status < 500 else InternalError)  # noqa: PLR2004
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return response(reply_of_error(kind(sentence), pairs)._replace(status=status))


def _methods_of(request: Request) -> Iterator[str]:
    """Those of all routes at this path; the framework names the first one's only."""
    for method in _METHODS:
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes):
            yield method


async def _on_validation_error(request: Request, error: Exception) -> Response:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    without_place = [{**fault, "loc": tuple(fault["loc"])[1:]} for fault in faults]
    return response(reply_of_error(faults_as_error(without_place, "the request", _body_fields(request))))


def _body_fields(request: Request) -> tuple[str, ...]:
    """The fields of the body that the route takes, to be offered where another one came."""
    hints = getattr(request.scope.get("endpoint"), "__annotations__", {})
    bodies = [
        hint for name, hint in hints.items() if name != "return" and isclass(hint) and issubclass(hint, BaseModel)
    ]
    return tuple(field for body in bodies for field in body.model_fields)


async def _on_disconnect(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return response(reply_of_error(Cancelled("The client went away.")))


async def _on_fault(request: Request, error: Exception) -> Response:
    """Starlette raises the exception again for uvicorn to log; this is what the caller sees."""
    del request, error
    return response(reply_of_error(InternalError("The server failed to answer this request; its log has the details.")))

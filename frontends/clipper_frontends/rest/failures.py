"""Whatever goes wrong inside a FastAPI application, in the shape of our errors."""

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

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
from clipper_frontends.rest.reply import Reply, reply_of_error

log = logging.getLogger(__name__)

_CLASS_OF_STATUS: dict[int, type[ClipperError]] = {
    error.http_status: error
    for error in (Unauthenticated, Forbidden, NotFound, MethodNotAllowed, TooLarge, UnsupportedMediaType)
}


def answer_failures(app: FastAPI) -> None:
    """Make ``app`` answer every failure with ``{"error", "code"}``; a traceback goes to the log, never to a caller."""
    app.add_exception_handler(ClipperError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_fault)


def response(reply: Reply) -> Response:
    """A reply for the ordinary road."""
    answer = Response(reply.body, reply.status, media_type="application/json")
    answer.raw_headers.extend(reply.headers)
    return answer


async def _on_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return response(reply_of_error(error if isinstance(error, ClipperError) else InternalError(str(error))))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = getattr(error, "headers", None) or {}
    path, method = request.url.path, request.method
    match status:
        case 404:
            sentence = f"There is nothing at '{path}'; /docs shows what there is."
        case 405:
            allowed = headers.get("Allow", headers.get("allow", ""))
            sentence = f"'{path}' does not take the method {method}; it takes {allowed}."
        case _:
            sentence = f"{getattr(error, 'detail', error)}".rstrip(".") + "."
    kind = _CLASS_OF_STATUS.get(status, InvalidRequest if status < 500 else InternalError)  # noqa: PLR2004
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return response(reply_of_error(kind(sentence), pairs)._replace(status=status))


async def _on_validation_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    sentences = [f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}" for fault in faults]
    return response(reply_of_error(InvalidRequest("; ".join(sentences) + ".")))


async def _on_disconnect(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return response(reply_of_error(Cancelled("The client went away.")))


async def _on_fault(request: Request, error: Exception) -> Response:
    """Starlette raises the exception again for uvicorn to log; this is what the caller sees."""
    del request, error
    return response(reply_of_error(InternalError("The server failed to answer this request; its log has the details.")))

"""Every failure as ``{"error": sentence, "code": machine_code}`` with its status; the details stay in the log."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from clipper.errors import BadRequest, Cancelled, ClipperError, InternalError, MethodNotAllowed, NotFound
from clipper.validation import faults_as_error

log = logging.getLogger(__name__)


def response_to(error: ClipperError) -> JSONResponse:
    """The answer that stands for ``error``."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.to_json(), error.http_status, headers)


def install(app: FastAPI) -> None:
    """Let ``app`` answer every failure in our shape."""
    app.add_exception_handler(ClipperError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)


def _ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ClipperError)  # noqa: S101 (registered for this class)
    return response_to(error)


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for this class)
    inner = [{**fault, "loc": tuple(fault["loc"])[1:]} for fault in error.errors()]
    return response_to(faults_as_error(inner, "the request"))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this class)
    failure: ClipperError
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            failure = NotFound(f"There is nothing at '{request.url.path}'; /docs lists what there is.")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            failure = MethodNotAllowed(f"{request.method} is not a method of '{request.url.path}'.")
        case _:
            failure = BadRequest(str(error.detail))
    response = response_to(failure)
    response.headers.update(error.headers or {})
    return response


def _gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads it; the request must be answered all the same."""
    return response_to(Cancelled("The caller went away before the whole request had arrived."))


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("The admin API failed at %s %s.", request.method, request.url.path, exc_info=error)
    return response_to(InternalError("The server failed at this request; its log says why."))

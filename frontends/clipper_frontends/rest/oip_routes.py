"""The Open Inference Protocol on the ordinary road: metadata, readiness, repository; inference for other servers."""

import asyncio
from enum import Enum
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response

from clipper.errors import ClipperError, InvalidRequest, Unavailable
from clipper.inputs import shown
from clipper_frontends.oip.metadata import is_ready, model_metadata, server_metadata
from clipper_frontends.oip.names import find_target
from clipper_frontends.oip.repository import Action, Repository, change_of, repository_index
from clipper_frontends.rest.documentation_of_oip import CHANGE, CHANGED, FAILED, INFER, INFERRED
from clipper_frontends.rest.failures import response
from clipper_frontends.rest.infer_body import json_bytes_of
from clipper_frontends.rest.inferring import Asked
from clipper_frontends.rest.lane import Lane, Route
from clipper_frontends.rest.presence import while_present
from clipper_frontends.rest.reply import Reply

_TAGS: list[str | Enum] = ["Open Inference Protocol v2"]
_MODEL = "/v2/models/{name}"
_VERSION = "/v2/models/{name}/versions/{version}"


def add_oip(app: FastAPI, lane: Lane, repository: Repository) -> None:
    """Add the routes; of a path with a version and the one without, the documentation has the latter."""
    _add_metadata(app, lane)
    _add_index(app, lane)
    _add_change(app, "load", "Start a model, and wait until it serves", repository)
    _add_change(app, "unload", "Stop a model", repository)

    @app.post(f"{_VERSION}/infer", include_in_schema=False)
    @app.post(f"{_MODEL}/infer", summary="Infer", tags=_TAGS, openapi_extra=INFER, responses=INFERRED)
    async def infer(request: Request) -> Response:
        body = await request.body()
        route = Route("infer", *_names(request), json_bytes_of(request.headers.raw))
        try:
            asked = Asked(lane, route, body)
        except ClipperError as error:
            lane.counters.refused[error.code] += 1
            raise
        return response(await _answered(request, asked))


def _names(request: Request) -> tuple[str, str | None]:
    return request.path_params["name"], request.path_params.get("version")


async def _answered(request: Request, asked: Asked) -> Reply:
    replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    inference = asked.start(replied.set_result)
    try:
        return await while_present(request, replied)
    finally:
        inference.cancel()


def _add_metadata(app: FastAPI, lane: Lane) -> None:
    @app.get("/v2", summary="Metadata of the server", tags=_TAGS)
    async def server() -> dict[str, Any]:
        return server_metadata()._asdict()

    @app.get(_VERSION, include_in_schema=False)
    @app.get(_MODEL, summary="Metadata of an application or a model", tags=_TAGS, responses=FAILED)
    async def model(request: Request) -> dict[str, Any]:
        metadata = model_metadata(lane.engine, find_target(lane.engine, *_names(request)))
        tensors = {"inputs": metadata.inputs, "outputs": metadata.outputs}
        return metadata._asdict() | {what: [tensor._asdict() for tensor in some] for what, some in tensors.items()}

    @app.get(f"{_VERSION}/ready", include_in_schema=False)
    @app.get(f"{_MODEL}/ready", summary="Whether a model answers its queries", tags=_TAGS, responses=FAILED)
    async def ready(request: Request) -> dict[str, Any]:
        name, version = _names(request)
        if not is_ready(lane.engine, find_target(lane.engine, name, version)):
            raise Unavailable(f"No replica of '{name}' is ready.")
        return {"name": name, "ready": True}


def _add_index(app: FastAPI, lane: Lane) -> None:
    @app.post("/v2/repository/index", summary="Versions of models and their states", tags=_TAGS, responses=FAILED)
    async def index(request: Request) -> list[dict[str, Any]]:
        only_ready = _only_ready(await request.body())
        return [entry._asdict() for entry in repository_index(lane.engine, only_ready=only_ready)]


def _add_change(app: FastAPI, action: Action, summary: str, repository: Repository) -> None:
    @app.post(
        f"/v2/repository/models/{{name}}/{action}",
        summary=summary,
        tags=_TAGS,
        openapi_extra=CHANGE,
        responses=CHANGED,
    )
    async def change(request: Request) -> dict[str, Any]:
        parameters = _object(await request.body(), "parameters").get("parameters") or {}
        if not isinstance(parameters, dict):
            raise InvalidRequest(f"'parameters' must be a JSON object, got {shown(parameters)}.")
        headers = request.headers
        asked = change_of(
            action,
            request.path_params["name"],
            parameters,
            authorization=headers.get("authorization", ""),
            # Browsers say at least one of these with every POST of a page, and scripts cannot unsay it.
            from_page="origin" in headers or headers.get("sec-fetch-site", "none") != "none",
        )
        await repository.carry_out(asked)
        return {}


def _only_ready(body: bytes) -> bool:
    """What the body of an index asks for; it may be empty."""
    return _object(body, "ready").get("ready") is True


def _object(body: bytes, field: str) -> dict[str, Any]:
    """The fields of a body that may be empty; ``field`` is the one that it may have."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any]) if body else {}
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body must be a JSON object, perhaps with '{field}': {error}.") from None

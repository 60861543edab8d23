"""The FastAPI application of the query port: health, metrics, documentation; queries and feedback the ordinary way."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from clipper.domain import Query
from clipper.errors import ClipperError, Unavailable
from clipper_container.version import __version__
from clipper_frontends.oip.repository import Repository
from clipper_frontends.rest.docs_page import add_docs
from clipper_frontends.rest.documentation import HEALTH, METRICS, PREDICT, PREDICTED
from clipper_frontends.rest.documentation_of_feedback import UPDATE, UPDATED
from clipper_frontends.rest.failures import answer_failures, response
from clipper_frontends.rest.infer_body import json_bytes_of
from clipper_frontends.rest.lane import Lane
from clipper_frontends.rest.oip_routes import add_oip
from clipper_frontends.rest.presence import while_present
from clipper_frontends.rest.reply import Reply, reply_to_query
from clipper_frontends.rest.submission import BatchSubmission
from clipper_frontends.rest.updating import reply_to_update

_DESCRIPTION = 'Predictions inside the application\'s SLO. Errors are `{"error": sentence, "code": machine_code}`.'

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""From an ``Accept`` header to the metrics and their content type; raises `Unavailable` where there are none now."""


def create_query_app(lane: Lane, scrape: Scrape, repository: Repository) -> FastAPI:
    """What the query port serves besides its fast lane.

    ``POST /{app}/predict`` and ``/{app}/update`` are here too: for the documentation, and for servers other than ours.
    They share the decoding, the engine and the replies with ``lane``.
    """
    app = FastAPI(
        title="Clipper",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    answer_failures(app, "The admin API is on a port of its own (1338 unless told otherwise).")
    add_docs(app)
    _add_health(app, lane)
    add_oip(app, lane, repository)

    @app.get("/metrics", summary="Metrics as Prometheus text", response_class=PlainTextResponse, responses=METRICS)
    async def metrics(request: Request) -> Response:
        text, content_type = await scrape(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    # A parameter `app` in the signature would make FastAPI document a 422 that never comes.
    @app.post("/{app}/predict", openapi_extra=PREDICT, responses=PREDICTED, summary="Predict one input or a batch")  # noqa: FAST003
    async def predict(request: Request) -> Response:
        body = await request.body()
        try:
            asked = lane.decode(request.path_params["app"], body, json_bytes_of(request.headers.raw))
        except ClipperError as error:
            lane.counters.refused[error.code] += 1
            raise
        return response(await _answered(request, lane, asked))

    @app.post("/{app}/update", openapi_extra=UPDATE, responses=UPDATED, summary="Say what the right answer was")  # noqa: FAST003  # as above
    async def update(request: Request) -> Response:
        return response(await reply_to_update(lane, request.path_params["app"], await request.body()))

    return app


def _add_health(app: FastAPI, lane: Lane) -> None:
    @app.api_route("/livez", methods=["GET", "HEAD"], include_in_schema=False)
    @app.api_route("/v2/health/live", methods=["HEAD"], include_in_schema=False)
    @app.get("/v2/health/live", summary="Whether the process is alive")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.api_route("/readyz", methods=["GET", "HEAD"], include_in_schema=False)
    @app.api_route("/v2/health/ready", methods=["HEAD"], include_in_schema=False)
    @app.get("/v2/health/ready", summary="Whether queries are served", responses=HEALTH)
    async def ready() -> dict[str, bool]:
        is_ready, reason = lane.engine.ready()
        if not is_ready:
            raise Unavailable(reason)
        return {"ready": True}


async def _answered(request: Request, lane: Lane, asked: Query | list[Query]) -> Reply:
    """The reply of the engine; the query is cancelled when the client goes away or the task is cancelled."""
    replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    if isinstance(asked, Query):
        ticket = lane.engine.submit(asked, lambda answer: replied.set_result(reply_to_query(answer)))
        cancel: Callable[[], None] = partial(lane.engine.cancel, ticket)
    else:
        batch = BatchSubmission(lane.engine, asked, replied.set_result)
        batch.start()
        cancel = batch.cancel
    try:
        return await while_present(request, replied)
    finally:
        if not replied.done():
            cancel()

"""The feedback log, page by page, and the right to be forgotten."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from clipper.control.lookup import find_application
from clipper.errors import InvalidRequest
from clipper_frontends.rest.admin.context import Context
from clipper_frontends.rest.admin.schemas import Erased, FeedbackPage
from clipper_frontends.rest.limits import MAX_UID_CHARS
from clipper_frontends.rest.reply import JSON

router = APIRouter(tags=["feedback"])

PAGE: dict[int | str, dict[str, Any]] = {200: {"model": FeedbackPage}}

Moment = Annotated[float, Query(ge=0, le=1e11, description="Seconds since 1970.")]


@router.get("/apps/{app}/feedback", response_model=None, responses=PAGE)
async def get_feedback(
    context: Context,
    app: str,
    since: Moment = 0.0,
    until: Moment | None = None,
    after: Annotated[int, Query(ge=0, le=2**62, description="Where to go on: 'next' of the page before.")] = 0,
) -> Response:
    """A page of the application's feedback log, oldest first: what was accepted from `since` to before `until`."""
    snapshot = await context.store.snapshot()
    find_application(snapshot.desired, app)
    key = (app, snapshot.desired.generations.get(app, 0))
    page = await context.feedback.log(key, since=since, until=until, after_sequence=after)
    body = msgspec.json.encode({"records": page.records, "next": page.next_sequence})
    return Response(body, media_type=JSON.decode())


@router.delete("/users/{uid:path}")
async def erase_user(context: Context, uid: str) -> Erased:
    """Remove a person from what the policies have learnt and from the log, in every application."""
    if not 0 < len(uid) <= MAX_UID_CHARS:
        raise InvalidRequest(f"A uid has 1 to {MAX_UID_CHARS} characters; {len(uid)} came.")
    return Erased(erased=uid, records=await context.feedback.erase_uid(uid))

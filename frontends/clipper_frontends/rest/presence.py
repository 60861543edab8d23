"""Whether the client of a request on the ordinary road is still there."""

import asyncio
from typing import Any

from fastapi import Request

from clipper.errors import Cancelled
from clipper_frontends.rest.reply import Reply, reply_of_error


async def while_present(request: Request, replied: asyncio.Future[Reply]) -> Reply:
    """The reply, or one that nobody reads if the client goes away first; ``replied`` is left as it is then."""
    gone = asyncio.ensure_future(_until_gone(request))
    either: list[asyncio.Future[Any]] = [replied, gone]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return replied.result() if replied.done() else reply_of_error(Cancelled("The client went away."))
    finally:
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

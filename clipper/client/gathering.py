"""Inputs that come one by one, in bundles: a message for each would cost ten times what the query in it does."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any


async def gathered(xs: AsyncIterable[Any], at_most: int) -> AsyncGenerator[list[Any], None]:
    """The inputs in their order, each time all that have come since the last bundle was taken.

    None waits for a further one: a bundle has one input where they come slowly. ``at_most`` bounds a bundle, and how
    far ahead of its reader ``xs`` is read. What ``xs`` raises is raised behind the inputs that came before it. Ended
    early, by cancellation or by ``aclose``, this ends ``xs`` first.
    """
    found: list[Any] = []
    changed, room = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async for x in xs:
            found.append(x)
            changed.set()
            if len(found) >= at_most:
                room.clear()
                await room.wait()

    reading = asyncio.create_task(read())
    reading.add_done_callback(lambda _: changed.set())
    try:
        while True:
            if found:
                bundle = found.copy()
                found.clear()
                room.set()
                yield bundle
            elif reading.done():
                reading.result()
                return
            else:
                changed.clear()
                await changed.wait()
    finally:
        if reading.cancel():
            await asyncio.wait([reading])

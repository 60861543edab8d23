"""Calls on a connection of the client, blocking or awaited, to a server that does as a test says."""

import asyncio

import pytest
from scripted_server import ANSWER, http

import clipper

FINE = (http(ANSWER),)
PREDICT = ("predict", ["a", [1.0]], {})
BY_BOTH = pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaited"])


def ask(url, *calls, awaited, **options):
    """What the calls return, one after the other; each is a name, arguments and named arguments."""
    if awaited:

        async def run():
            async with clipper.connect_async(query_url=url, **options) as cl:
                return [await getattr(cl, name)(*arguments, **named) for name, arguments, named in calls]

        return asyncio.run(run())
    with clipper.connect(query_url=url, **options) as cl:
        return [getattr(cl, name)(*arguments, **named) for name, arguments, named in calls]

"""A real server in a process of its own, and a look for leaks after every test."""

import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import clipper


@pytest.fixture(scope="module")
def cl() -> Iterator[clipper.Connection]:
    with clipper.local() as connection:
        connection.session.query_url = httpx.get(f"{connection.session.admin_url}/admin/status").json()["query"]
        yield connection


@pytest.fixture(autouse=True)
def nothing_is_left(request) -> Iterator[None]:
    """After every test no query, queue entry, flight or batch is left in the server."""
    yield
    if "cl" not in request.fixturenames:
        return
    url = request.getfixturevalue("cl").session.query_url
    deadline_s = time.monotonic() + 20
    while live := {name: n for name, n in _live(url).items() if n}:
        assert time.monotonic() < deadline_s, f"left behind: {live}"


def _live(url: str) -> dict[str, float]:
    text = httpx.get(f"{url}/metrics").text
    return {
        family.name: family.samples[0].value
        for family in text_string_to_metric_families(text)
        if family.name.startswith("clipper_live_")
    }

import json
import time
from collections.abc import Iterator

import httpx
import pytest

import clipper

TOKEN = "right-token"


@pytest.fixture(scope="session")
def admin() -> Iterator[httpx.Client]:
    """A real server's admin API, as curl would see it."""
    limits = {"max_artifact_bytes": 200_000, "max_body_bytes": 100_000}
    with clipper.local(**limits) as cl, httpx.Client(base_url=cl.session.admin_url) as client:
        yield client


@pytest.fixture(scope="session")
def guarded() -> Iterator[httpx.Client]:
    """The admin API of a server that asks for a token; the client sends none by itself."""
    with clipper.local(admin_token=TOKEN) as cl, httpx.Client(base_url=cl.session.admin_url) as client:
        yield client


@pytest.fixture
def until(admin):
    """Ask until the answer satisfies ``reached``; the suite's timeout ends it."""

    def ask(path: str, reached) -> dict:
        while not reached(body := admin.get(path).json()):
            time.sleep(0.02)
        return body

    return ask


@pytest.fixture
def deploy(admin, until):
    """Deploy a version of the flavor noop, which is running at once."""

    def send(model: str, version: str = "1", *, wait: bool = False, **spec) -> httpx.Response:
        body = {"version": version, "flavor": "noop", "input_type": "doubles", **spec}
        response = admin.post(f"/admin/models/{model}/versions", files={"spec": (None, json.dumps(body))})
        if wait:
            until(f"/admin/models/{model}/versions/{version}", lambda info: info["state"] == "ready")
        return response

    return send

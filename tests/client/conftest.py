from collections.abc import Iterator

import pytest

import clipper

PROTOCOLS = ("rest", "grpc")


@pytest.fixture(scope="session")
def cl() -> Iterator[clipper.Connection]:
    """A real server, shared; each test uses names of its own."""
    with clipper.local() as connection:
        yield connection


@pytest.fixture(scope="session")
def summing(cl) -> str:
    """An application that answers with the sum of its input, or fails at a negative first number."""
    cl.deploy_model("summing", 1, summed, input_type="doubles")
    cl.register_application("sums", input_type="doubles", slo_ms=5000, models=["summing"])
    return "sums"


def summed(batch):
    if (batch[:, 0] < 0).any():
        raise ValueError("negative")
    return batch.sum(axis=1)


@pytest.fixture(scope="session", params=PROTOCOLS)
def by_protocol(request, cl) -> Iterator[clipper.Connection]:
    """A connection by each protocol, to the same server."""
    with clipper.connect(cl.session.admin_url, protocol=request.param) as connection:
        yield connection

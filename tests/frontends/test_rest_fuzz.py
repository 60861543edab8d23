"""Whatever bytes come: no answer of 5xx, no failure in the log, and the connection ends when the client ends it."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_fakes import FakeEngine
from rest_wire import bounded, chunked, predict, request, until

GOOD = (
    predict(1)
    + request("/livez", method="GET")
    + chunked(b'{"input":', b"[2]}")
    + request("/nowhere", b"{}", headers=("Connection: Upgrade", "Upgrade: h2c"))
    + request(body=b'{"input_batch": [[1], [2]]}', headers=("Expect: 100-continue",))
    + predict(3, headers=("Connection: keep-alive, x",))
)
TARGET = st.from_regex(rb"\A(http:/)?/?[a-z%0-9:\[\]@?#./]{0,12}(/predict)?\Z")
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def _statuses(served, stream: bytes, cut: int) -> list[int]:
    wire = await served.connect()
    (connection,) = served.server._server.server_state.connections
    for piece in (stream[:cut], stream[cut:]):
        connection.data_received(piece)
    wire.end()
    received = await bounded(wire.receive_end())
    await until(lambda: served.server.connections == 0)
    await wire.close()
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d{3}) ", received)]


@FUZZ
@given(
    edits=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=3), st.integers(0, 30)), max_size=4),
    cut=st.integers(0, len(GOOD)),
    fast=st.booleans(),
)
async def test_damaged_requests_never_make_the_server_fail(serve_many, edits, cut, fast):
    stream = bytearray(GOOD)
    for position, insertion, deleted in edits:
        stream[position : position + deleted] = insertion
    served = await serve_many("soon", fast)
    assert all(status < 500 for status in await _statuses(served, bytes(stream), cut))


@FUZZ
@given(
    target=st.binary(max_size=20) | st.from_regex(rb"\A(http:/)?/?[a-z%0-9:\[\]@?#./]{0,12}(/predict)?\Z"),
    fast=st.booleans(),
)
async def test_no_target_makes_the_server_fail(serve_many, target, fast):
    served = await serve_many("soon", fast)
    stream = b"POST " + target + b" HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    assert all(status < 500 for status in await _statuses(served, stream, len(stream)))


@pytest.mark.parametrize(
    "target", ["a/predict", "*", "http://", "http://[::1", "http://test", "//", "?x", "/a b/predict", "test:80"]
)
async def test_a_target_that_means_nothing_is_400_or_404(serve, fast, target):
    served = await serve(engine=FakeEngine("soon"), fast=fast)
    wire = await served.connect()
    wire.send(request(target, b"{}"))
    assert (await bounded(wire.receive())).status in {400, 404}

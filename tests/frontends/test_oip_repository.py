"""What callers of the repository extension may ask, over both protocols, and who may."""

import pytest
import pytest_asyncio
from grpc_served import ServedGrpc, failure_of
from rest_wire import request

from clipper.errors import Forbidden, NoModelReady, Unauthenticated
from clipper.protocols import Messages
from clipper_frontends.oip.repository import Change, check_access

OIP = Messages("inference")
TOKEN = "geheim"


@pytest_asyncio.fixture
async def by_grpc():
    one = await ServedGrpc().start()
    yield one
    await one.stop()


def call(served, action, *, metadata=(), **fields):
    name = f"RepositoryModel{action.capitalize()}"
    made = served.channel.unary_unary(
        f"/inference.GRPCInferenceService/{name}",
        request_serializer=lambda r: r.SerializeToString(),
        response_deserializer=getattr(OIP, f"{name}Response").FromString,
    )
    return made(getattr(OIP, f"{name}Request")(**fields), metadata=metadata, timeout=5)


@pytest.mark.parametrize("action", ["load", "unload"])
@pytest.mark.parametrize(
    ("body", "headers", "change"),
    [
        (b"", (), {}),
        (b"{}", (), {}),
        (b'{"parameters": {"unload_dependents": false}}', (), {}),
        (b'{"parameters": {"version": "2"}}', (f"Authorization: Bearer {TOKEN}",), {"version": "2"}),
        (b"", ("Origin: http://page.example",), {"from_page": True}),
        (b"", ("Sec-Fetch-Site: cross-site",), {"from_page": True}),
    ],
)
async def test_a_change_is_asked_for_over_rest(serve, action, body, headers, change):
    served = await serve()
    wire = await served.connect()
    wire.send(request(f"/v2/repository/models/svm/{action}", body, headers=headers))
    assert (await wire.receive()).status == 200
    authorization = f"Bearer {TOKEN}" if "version" in change else ""
    assert served.repository.asked == [Change(action, "svm", **change, authorization=authorization)]


@pytest.mark.parametrize("action", ["load", "unload"])
async def test_a_change_is_asked_for_over_grpc(by_grpc, action):
    await call(by_grpc, action, model_name="svm")
    version = {"version": OIP.ModelRepositoryParameter(string_param="2")}
    metadata = [("authorization", f"Bearer {TOKEN}")]
    await call(by_grpc, action, model_name="svm", parameters=version, metadata=metadata)
    assert by_grpc.repository.asked == [Change(action, "svm"), Change(action, "svm", "2", f"Bearer {TOKEN}")]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[", "JSON object"),
        (b'{"parameters": 3}', "'parameters' must be a JSON object"),
        (b'{"parameters": {"version": 2}}', "name of a version"),
        (b'{"parameters": {"version": ""}}', "name of a version"),
        (b'{"parameters": {"config": "{}"}}', "'config' is not served"),
        (b'{"parameters": {"file:1/model.onnx": "AA=="}}', "clipper deploy"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused_over_rest(serve, body, words):
    served = await serve()
    wire = await served.connect()
    wire.send(request("/v2/repository/models/svm/load", body))
    received = await wire.receive()
    assert received.status == 400
    assert words in received.json()["error"]
    assert not served.repository.asked


async def test_what_cannot_be_asked_for_is_refused_over_grpc(by_grpc):
    parameters = {"file:1/model.onnx": OIP.ModelRepositoryParameter(bytes_param=b"x")}
    status, _, details = await failure_of(call(by_grpc, "load", model_name="svm", parameters=parameters))
    assert status == "INVALID_ARGUMENT"
    assert "clipper deploy" in details
    status, _, details = await failure_of(call(by_grpc, "load", model_name="svm", repository_name="other"))
    assert status == "INVALID_ARGUMENT"
    assert "without a name" in details
    assert not by_grpc.repository.asked


async def test_what_comes_of_a_change_has_its_status_over_both(serve, by_grpc):
    failure = NoModelReady("It failed.", retry_after_s=1.0)
    by_rest = await serve()
    by_rest.repository.failure = by_grpc.repository.failure = failure
    wire = await by_rest.connect()
    wire.send(request("/v2/repository/models/svm/load", b""))
    received = await wire.receive()
    assert (received.status, received.json()["code"]) == (503, "no_model_ready")
    assert await failure_of(call(by_grpc, "load", model_name="svm")) == ("UNAVAILABLE", "no_model_ready", "It failed.")


def change(authorization="", *, from_page=False):
    return Change("load", "svm", None, authorization, from_page)


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer  {TOKEN} "])
@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("from_page", [True, False])
def test_the_admin_token_may_in_any_case(authorization, is_open, from_page):
    check_access(change(authorization, from_page=from_page), TOKEN, is_open=is_open)


@pytest.mark.parametrize(
    ("authorization", "token", "error", "words"),
    [
        ("", None, Forbidden, "admin port"),
        (f"Bearer {TOKEN}", None, Forbidden, "admin port"),
        ("", TOKEN, Unauthenticated, "asks for the admin token"),
        (f"Basic {TOKEN}", TOKEN, Unauthenticated, "asks for the admin token"),
        ("Bearer ", TOKEN, Unauthenticated, "asks for the admin token"),
        ("Bearer gehei", TOKEN, Forbidden, "not the administrator's"),
        ("Bearer ünsinn\udcff", TOKEN, Forbidden, "not the administrator's"),
    ],
)
def test_without_it_nobody_may(authorization, token, error, words):
    with pytest.raises(error, match=words):
        check_access(change(authorization), token, is_open=False)


@pytest.mark.parametrize("token", [None, TOKEN])
def test_where_it_is_open_everybody_may_but_a_page_in_a_browser(token):
    check_access(change(), token, is_open=True)
    check_access(change("Bearer wrong"), token, is_open=True)
    with pytest.raises(Forbidden, match="Web pages"):
        check_access(change(from_page=True), token, is_open=True)

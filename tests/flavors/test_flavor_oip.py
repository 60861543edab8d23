"""A model behind a server of the Open Inference Protocol, for real: a replica in its process asks a gRPC server."""

import asyncio

import pytest
from flavor_harness import needs

import clipper
from clipper.errors import InvalidModel, InvalidRequest
from clipper.packaging import package
from clipper_container.wire import ItemError

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
async def reference():
    from oip_reference import Reference  # noqa: PLC0415 (grpc, which is not everywhere)

    server = await Reference().start()
    yield server
    await server.stop()


@pytest.fixture
def oip():
    import oip_reference  # noqa: PLC0415 (as above)

    return oip_reference


oip_test = needs("grpc")


@oip_test
async def test_a_batch_is_one_request_of_its_rows(serve, reference):
    served = serve(reference.address, input_type="doubles")
    assert (served.manifest["flavor"], served.manifest["entry"]) == ("oip", reference.address)
    assert (await served.ready()).input_width == 2
    assert await served.ask([1, 2], [3, 4], [5, 6]) == [3.0, 7.0, 11.0]
    (request,) = reference.seen
    assert (request.model, request.version, request.name, request.datatype) == ("sum", "", "x", "FP64")
    assert request.shape == [3, 2]


@oip_test
async def test_one_version_can_be_asked_for(serve, reference):
    served = serve(f"{reference.address}/versions/7", input_type="integers")
    await served.ready()
    assert await served.ask([1, 2]) == [3.0]
    assert reference.seen[0].version == "7"


@oip_test
async def test_typed_contents_and_several_outputs(serve, reference, oip):
    reference.answer = oip.typed_sums
    served = serve(reference.address, input_type="floats")
    await served.ready()
    assert await served.ask([1, 2], [3, 4]) == [{"y": 3.0, "w": "n2\0"}, {"y": 7.0, "w": "n2\0"}]


@oip_test
async def test_text_goes_and_comes_as_it_is(serve, reference, oip):
    reference.answer = oip.shouts
    reference.metadata = oip.field(4, oip.tensor("s", "BYTES", [-1]))
    served = serve(reference.address, input_type="strings")
    await served.ready()
    assert await served.ask("a", "", "größe\0x") == ["A", "", "GRößE\0X"]


@oip_test
async def test_a_server_that_does_not_say_what_it_takes_gets_what_was_deployed(serve, reference):
    reference.metadata = b""
    served = serve(reference.address, input_type="doubles")
    assert (await served.ready()).input_width is None
    assert await served.ask([1, 2, 3]) == [6.0]


@oip_test
async def test_a_row_that_the_server_refuses_fails_alone(serve, reference):
    served = serve(reference.address, input_type="doubles")
    await served.ready()
    first, bad, last = await served.ask([1, 2], [-1, 2], [3, 4])
    assert (first, last) == (3.0, 7.0)
    assert bad == ItemError("model_error", f"Refused: {reference.address} answered INVALID_ARGUMENT: negative")


@oip_test
async def test_deadlines_are_the_timeouts_of_the_requests(serve, reference, oip):
    never = asyncio.Event()

    async def waits(_request, _context):
        await never.wait()
        return b""

    reference.answer = waits
    served = serve(reference.address, input_type="doubles")
    await served.ready()
    (late,) = await served.ask([1, 2], timeout_s=2.0)
    assert late.code == "deadline_exceeded"
    assert 0.0 < reference.remaining_s[0] < 3.0, "the deadline of the batch, which gRPC sends rounded up"
    reference.answer = oip.sums
    assert await served.ask([1, 2]) == [3.0], "it serves on"


@oip_test
async def test_what_is_not_there_is_not_served_and_the_reason_is_a_sentence(serve, reference):
    await reference.stop()
    served = serve(reference.address, input_type="doubles")
    sentence = await served.failure()
    assert sentence.startswith(f"{reference.address} cannot be reached: UNAVAILABLE: ")


@oip_test
async def test_a_model_that_is_not_loaded_yet_is_waited_for(serve, reference):
    reference.ready = False
    served = serve(reference.address, input_type="doubles")
    await asyncio.wait_for(reference.asked_ready.wait(), 60)
    reference.ready = True
    await served.ready()


@oip_test
async def test_a_replica_ends_when_its_server_has_gone_and_says_why(serve, reference):
    served = serve(reference.address, input_type="doubles")
    await served.ready()
    await reference.stop()
    (failed,) = await served.ask([1, 2])
    assert failed.code == "model_error"
    assert "cannot be reached" in failed.message
    assert await served.replica.exit_code() == 4
    assert f'"{reference.address} cannot be reached' in served.log_text()


@oip_test
async def test_a_model_that_was_unloaded_is_noticed_without_a_query(serve, reference):
    served = serve(reference.address, input_type="doubles")
    await served.ready()
    reference.ready = False
    assert await served.replica.exit_code() == 4
    assert "says that the model is not ready" in served.log_text()


@oip_test
@pytest.mark.parametrize(
    ("inputs", "how", "sentence"),
    [
        ([("x", "FP64", [-1, 2]), ("z", "FP64", [-1, 2])], "doubles", "2 inputs (x, z), and one is expected"),
        ([("x", "FP64", [-1, 2])], "strings", "The model takes numbers (float64)"),
        ([("x", "FP64", [-1, 2])], "json", "deploy the model with doubles, floats"),
        ([("x", "BF16", [-1, 2])], "doubles", "of the type BF16"),
    ],
)
async def test_a_model_that_rows_do_not_fit_says_what_it_takes(serve, reference, oip, inputs, how, sentence):
    reference.metadata = b"".join(oip.field(4, oip.tensor(*each)) for each in inputs)
    assert sentence in await serve(reference.address, input_type=how).failure()


@oip_test
async def test_it_is_registered_by_its_address_and_scaled_like_any_model(reference):
    with clipper.local() as cl:
        register = {"input_type": "doubles", "num_replicas": 2}
        info = await asyncio.to_thread(cl.register_model, "elsewhere", 1, reference.address, **register)
        assert (info["flavor"], info["state"], info["replicas"]["wanted"]) == ("oip", "ready", 2)
        cl.register_application("sums", input_type="doubles", slo_ms=5000, models=["elsewhere"])
        assert (await asyncio.to_thread(cl.predict, "sums", [1.0, 2.0])).output == 3.0
        with pytest.raises(InvalidRequest, match="has no use for one"):
            cl.register_model("elsewhere", 2, reference.address, secret="a secret that both ends know")


@pytest.mark.parametrize("address", ["grpc://", "grpc://host/model", "grpc://host:1", "grpcs://host:1/a/b"])
def test_an_address_that_names_no_model_is_refused_before_it_is_sent(tmp_path, address):
    with pytest.raises(InvalidModel, match="'grpc://host:port/model'"):
        package(address, tmp_path, input_type="doubles")


def test_requirements_that_lie_about_do_not_become_the_adapters(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("numpy\n")
    monkeypatch.chdir(tmp_path)
    packaged = package("grpc://host:1/model", tmp_path, input_type="doubles")
    assert packaged.flavor == "oip"
    assert b'"requirements"' not in packaged.tar.read_bytes()

import asyncio
import inspect
import threading

import pytest

import clipper
from clipper.client.asynchronous import _in_thread


def test_both_connections_have_the_same_methods_with_the_same_arguments():
    methods = {name for name, _ in inspect.getmembers(clipper.Connection, callable) if not name.startswith("_")}
    for name in methods - {"carry_out", "close", "read_feedback", "predict_stream"}:
        blocking, awaited = getattr(clipper.Connection, name), getattr(clipper.AsyncConnection, name)
        assert inspect.signature(blocking) == inspect.signature(awaited)
        assert inspect.getdoc(blocking) == inspect.getdoc(awaited)
        assert inspect.iscoroutinefunction(awaited)
    assert methods == {
        name for name, _ in inspect.getmembers(clipper.AsyncConnection, callable) if not name.startswith("_")
    }


def test_a_method_shows_what_it_returns():
    signature = inspect.signature(clipper.Connection.predict)
    assert signature.return_annotation is clipper.Prediction
    assert list(signature.parameters)[:3] == ["self", "app", "x"]


async def test_queries_overlap(cl, summing):
    async with clipper.connect_async(cl.session.admin_url) as connection:
        answers = await asyncio.gather(*(connection.predict(summing, [float(i), 1.0]) for i in range(20)))
    assert [answer.output for answer in answers] == [i + 1 for i in range(20)]


async def test_a_model_is_deployed_and_failures_are_raised(cl):
    async with clipper.connect_async(cl.session.admin_url) as connection:
        info = await connection.deploy_model("awaited", 1, lambda batch: [1] * len(batch), input_type="doubles")
        assert info["state"] == "ready"
        with pytest.raises(clipper.UnknownApplication):
            await connection.get_app_info("nobody")
        with pytest.raises(clipper.InvalidModel):
            await connection.deploy_model("awaited", 2, object(), input_type="doubles")


async def test_a_cancelled_call_leaves_nothing_behind(cl, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = tmp_path / "model.py"
    model.write_text("import time\ntime.sleep(3600)\n\ndef predict(batch):\n    return batch\n")
    async with clipper.connect_async(cl.session.admin_url) as connection:
        started = asyncio.Event()
        deployment = asyncio.create_task(
            connection.deploy_model("cancelled", 1, model, input_type="doubles", on_progress=lambda _p: started.set())
        )
        await started.wait()
        deployment.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deployment
    assert list(tmp_path.glob("clipper-*")) == []
    if "cancelled" in cl.get_all_models():
        cl.delete_model("cancelled")


async def test_an_embedded_server_for_programs_with_a_loop():
    async with clipper.local_async() as connection:
        assert await connection.get_all_apps() == []


async def test_a_cancelled_call_ends_only_when_its_thread_has_ended():
    running, may_end = threading.Event(), threading.Event()

    def work():
        running.set()
        may_end.wait(10)

    task = asyncio.create_task(_in_thread(work))
    await asyncio.to_thread(running.wait, 10)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task

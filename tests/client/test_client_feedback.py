"""Feedback through the client: told, refused, read again, forgotten."""

import asyncio
import secrets
import time

import msgspec
import pytest

import clipper
from clipper.feedback import FeedbackRecord


def says(number):
    return lambda batch: [number] * len(batch)


@pytest.fixture(scope="session")
def models(cl) -> list[str]:
    """Three models; the first is right when the label is 0."""
    names = [f"says-{n}" for n in range(3)]
    for n, name in enumerate(names):
        cl.deploy_model(name, 1, says(n), input_type="doubles", wait=False)
    for name in names:
        cl.wait_for_version(name, 1)
    return names


@pytest.fixture
def app(cl, models) -> str:
    """An application of its own for each test."""
    name = f"app-{secrets.token_hex(4)}"
    cl.register_application(name, input_type="doubles", slo_ms=5000, policy="exp3", models=models, log_inputs="full")
    return name


def test_feedback_on_a_prediction_is_accepted_once(cl, by_protocol, app):
    answer = cl.predict(app, [1.0])
    assert by_protocol.update(app, query_id=answer.query_id, label=0) == 1
    with pytest.raises(clipper.DuplicateFeedback, match="counts once"):
        by_protocol.update(app, query_id=answer.query_id, label=0)


def test_feedback_changes_what_is_served(cl, app):
    for i in range(150):
        cl.update(app, input=[float(i)], label=2)
    probabilities = {choice["model"]: choice["probability"] for choice in cl.get_selection(app)["models"]}
    assert probabilities["says-2"] > 0.8
    outputs = [cl.predict(app, [float(i)]).output for i in range(1000, 1060)]
    assert outputs.count(2) > 40


def test_feedback_by_input_with_an_update_id_counts_once(cl, by_protocol, app):
    assert by_protocol.update(app, input=[1.0], label=0, uid="user-7", update_id="order-17") == 1
    with pytest.raises(clipper.DuplicateFeedback, match="order-17"):
        by_protocol.update(app, input=[1.0], label=0, uid="user-7", update_id="order-17")
    assert cl.get_selection(app, uid="user-7")["feedbacks"] == 1
    assert cl.get_selection(app, uid="user-8")["feedbacks"] == 0


def test_what_is_no_query_of_this_application_says_how_to_go_on(by_protocol, app):
    with pytest.raises(clipper.UnknownQuery, match="send the input instead"):
        by_protocol.update(app, query_id="nonsense", label=0)


def test_a_label_that_cannot_be_compared_is_refused(by_protocol, app):
    with pytest.raises(clipper.InvalidLabel, match="label"):
        by_protocol.update(app, input=[1.0], label="cat")


def test_a_list_is_accepted_piece_by_piece(cl, by_protocol, app):
    answer = cl.predict(app, [1.0])
    by_query = {"query_id": answer.query_id, "label": 0}
    result = by_protocol.update_many(
        app, [by_query, by_query, {"input": [2.0], "label": 1}, {"input": ["x"], "label": 1}]
    )
    assert result.accepted == 2
    assert [(one.index, one.error.code) for one in result.rejected] == [(1, "duplicate_feedback"), (3, "invalid_input")]
    assert isinstance(result.rejected[0].error, clipper.DuplicateFeedback)


WRONG = {
    "no application": ("nobody", {"query_id": "q", "label": 0}),
    "nothing it is about": (None, {"label": 0}),
    "both": (None, {"query_id": "q", "input": [1.0], "label": 0}),
    "a uid with a query": (None, {"query_id": "q", "uid": "u", "label": 0}),
    "an empty id": (None, {"query_id": "", "label": 0}),
    "an id that is none": (None, {"query_id": 7, "label": 0}),
    "a long uid": (None, {"input": [1.0], "uid": "u" * 300, "label": 0}),
    "an empty uid": (None, {"input": [1.0], "uid": "", "label": 0}),
    "another type": (None, {"input": "text", "label": 0}),
    "no number": (None, {"input": [float("nan")], "label": 0}),
    "a label that is none": (None, {"input": [1.0], "label": float("inf")}),
    "an object": (None, {"input": [1.0], "label": object()}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_refused_by_rest_is_refused_by_grpc_with_the_same_class(cl, by_protocol, app, wrong):
    name, fields = WRONG[wrong]
    refusals = []
    for connection in (cl, by_protocol):
        with pytest.raises(clipper.ClipperError) as refusal:
            connection.update(name or app, **fields)
        refusals.append((type(refusal.value), refusal.value.code))
    assert refusals[0] == refusals[1]


WRONG_ELEMENTS = [
    {},
    {"label": 1},
    {"query_id": "q"},
    {"lable": 1},
    {"input": [1.0], "label": 1, "uid": 3},
    {"input": None, "label": 1},
]


@pytest.mark.parametrize("element", WRONG_ELEMENTS)
def test_an_element_that_is_wrong_harms_no_other(cl, by_protocol, app, element):
    good = {"input": [1.0], "label": 1}
    for updates in ([good, element, good], [element]):
        results = [connection.update_many(app, updates) for connection in (cl, by_protocol)]
        outcomes = [(one.accepted, [(r.index, r.error.code) for r in one.rejected]) for one in results]
        assert outcomes[0] == outcomes[1]
        assert outcomes[0][0] == len(updates) - 1


def test_no_feedback_at_all_is_refused(by_protocol, app):
    with pytest.raises(clipper.BadRequest, match="updates"):
        by_protocol.update_many(app, [])


def test_the_log_is_read_page_by_page(cl, app):
    before = time.time()
    cl.update_many(app, [{"input": [float(i)], "label": i % 3, "uid": "user-7"} for i in range(20)])
    answer = cl.predict(app, [50.0])
    cl.update(app, query_id=answer.query_id, label=1)
    records = [msgspec.convert(record, FeedbackRecord) for record in cl.read_feedback(app, since=before)]
    assert [record.label for record in records] == [*(i % 3 for i in range(20)), 1]
    assert [record.full_information for record in records] == [True] * 20 + [False]
    assert records[0].models == ("says-0:1", "says-1:1", "says-2:1")
    assert records[0].input == b"\0" * 8
    assert records[-1].query_id == answer.query_id
    assert list(cl.read_feedback(app, until=before)) == []
    assert len(cl.get_feedback(app)["records"]) > 0


def test_a_person_is_erased_from_state_and_log(cl, app):
    uid = f"user/{secrets.token_hex(4)}"
    cl.update(app, input=[1.0], label=0, uid=uid)
    cl.update(app, input=[1.0], label=0)
    assert cl.get_selection(app, uid=uid)["feedbacks"] == 1
    assert cl.erase_user(uid) == 1
    assert cl.get_selection(app, uid=uid)["feedbacks"] == 0
    assert [record.get("uid") for record in cl.read_feedback(app)] == [None]
    assert cl.erase_user(uid) == 0


def test_an_application_that_does_not_learn_takes_inputs(cl, models):
    name = f"app-{secrets.token_hex(4)}"
    cl.register_application(name, input_type="doubles", slo_ms=5000, models=models[:1])
    with pytest.raises(clipper.UnknownQuery, match="does not learn"):
        cl.update(name, query_id=cl.predict(name, [1.0]).query_id, label=0)
    assert cl.update(name, input=[1.0], label=0) == 1
    (record,) = cl.read_feedback(name)
    assert (record["losses"], record["answer"], record["answer_loss"]) == ([0.0], 0, 0.0)


def test_models_come_and_go_while_others_keep_what_they_have_learnt(cl, app):
    for i in range(100):
        cl.update(app, input=[float(i)], label=2)
    before = {choice["model"]: choice for choice in cl.get_selection(app)["models"]}
    cl.unlink_model_from_app(app, "says-0")
    assert [choice["model"] for choice in cl.get_selection(app)["models"]] == ["says-1", "says-2"]
    cl.link_model_to_app(app, "says-0")
    after = {choice["model"]: choice for choice in cl.get_selection(app)["models"]}
    assert {model: choice["plays"] for model, choice in after.items()} == {
        model: choice["plays"] for model, choice in before.items()
    }


def test_an_application_deleted_and_made_again_begins_anew(cl, app, models):
    answer = cl.predict(app, [1.0])
    cl.update(app, input=[1.0], label=2)
    cl.unregister_application(app)
    cl.register_application(app, input_type="doubles", slo_ms=5000, policy="exp3", models=models)
    assert cl.get_selection(app)["feedbacks"] == 0
    with pytest.raises(clipper.UnknownQuery, match="earlier application"):
        cl.update(app, query_id=answer.query_id, label=0)


def test_the_options_of_an_application_reach_the_server(cl, models):
    name = f"app-{secrets.token_hex(4)}"
    policy = {"name": "exp4", "options": {"eta": 0.3}}
    cl.register_application(
        name, input_type="doubles", slo_ms=5000, policy=policy, models=models, default_output=-1,
        min_confidence=0.9, loss="absolute", loss_range=(0, 10), log_inputs="none",
    )  # fmt: skip
    info = cl.get_app_info(name)
    assert (info["policy"], info["min_confidence"]) == (policy, 0.9)
    assert (info["loss"], info["loss_range"], info["log_inputs"]) == ("absolute", [0.0, 10.0], "none")
    cl.update(name, input=[1.0], label=5)
    (record,) = cl.read_feedback(name)
    assert record["losses"] == pytest.approx([0.5, 0.4, 0.3])
    assert "input_digest" not in record


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_asynchronous_client_does_the_same(cl, app, protocol):
    async def go():
        async with clipper.connect_async(cl.session.admin_url, protocol=protocol) as connection:
            answer = await connection.predict(app, [1.0])
            assert await connection.update(app, query_id=answer.query_id, label=0) == 1
            result = await connection.update_many(app, [{"query_id": answer.query_id, "label": 0}])
            assert (result.accepted, len(result.rejected)) == (0, 1)
            assert len([record async for record in connection.read_feedback(app)]) == 1
            assert (await connection.get_selection(app))["feedbacks"] == 1
            assert await connection.erase_user("nobody") == 0

    asyncio.run(go())

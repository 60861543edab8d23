"""From the body of a feedback request to updates, and the sentences for what is no feedback."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_fakes import FakeApplication

from clipper.engine.update import Update
from clipper.errors import BadRequest, ClipperError
from clipper_frontends.rest.limits import MAX_UPDATES_PER_REQUEST
from clipper_frontends.rest.rows import RowReader
from clipper_frontends.rest.update_body import decode_updates

READER = RowReader()
ROW = np.array([1.0, 2.5]).tobytes()


def decode(body, app=None):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode_updates(text, app or FakeApplication(), READER)


@pytest.mark.parametrize("label", [3, 3.5, "cat", None, True, [0.1, 0.9], {"a": 1}])
def test_feedback_by_query_with_any_label(label):
    assert decode({"query_id": "abc", "label": label}) == Update(label=label, query_id="abc")


def test_feedback_by_input_with_all_that_it_may_have():
    assert decode({"input": [1.0, 2.5], "label": 3}) == Update(label=3, row=ROW)
    body = {"input": [1.0, 2.5], "label": 3, "uid": "user-7", "update_id": "order-17"}
    assert decode(body) == Update(label=3, row=ROW, uid="user-7", update_id="order-17")


def test_a_list_is_a_list_with_errors_in_their_places():
    one, two, three = decode(
        {"updates": [{"query_id": "a", "label": 1}, {"label": 1}, {"input": [1.0, 2.5], "label": 2}]}
    )
    assert (one, three) == (Update(label=1, query_id="a"), Update(label=2, row=ROW))
    assert (two.code, "'updates[1].query_id'" in two.message) == ("invalid_request", True)


def test_a_list_of_one_is_a_list():
    assert decode({"updates": [{"query_id": "a", "label": 1}]}) == [Update(label=1, query_id="a")]


REFUSED = {
    "empty": (b"", "invalid_json", "The body is empty"),
    "no json": (b"{", "invalid_json", "not valid JSON"),
    "a list": (b"[]", "invalid_request", "must be a JSON object"),
    "deep": (b'{"label":' + b"[" * 100_000, "invalid_json", "nested too deeply"),
    "no label": ({"query_id": "a"}, "invalid_request", "'label' is missing"),
    "neither": ({"label": 1}, "invalid_request", "neither came"),
    "both": ({"label": 1, "input": [1.0], "query_id": "a"}, "invalid_request", "both came"),
    "unknown field": ({"label": 1, "query": "a"}, "invalid_request", '"query" is not a field'),
    "id of another type": ({"label": 1, "query_id": 7}, "invalid_request", "'query_id' must be a string"),
    "empty id": ({"label": 1, "query_id": ""}, "invalid_request", "'query_id' must be a string"),
    "uid of a query": ({"label": 1, "query_id": "a", "uid": "u"}, "invalid_request", "'uid' goes with an input"),
    "long uid": (
        {"label": 1, "input": [1.0], "uid": "u" * 257},
        "invalid_request",
        "'uid' must be a string of 1 to 256",
    ),
    "update_id": ({"label": 1, "input": [1.0], "update_id": 5}, "invalid_request", "'update_id' must be a string"),
    "input": ({"label": 1, "input": [1.0, "x"]}, "invalid_input", "input[1] must be a number"),
    "huge label": (b'{"query_id": "a", "label": 1e999}', "invalid_label", "label has a number that is out of range"),
    "list and more": ({"updates": [], "label": 1}, "invalid_request", "Beside 'updates' nothing is expected"),
    "no list": ({"updates": {}}, "invalid_request", "'updates' must be a list"),
    "empty list": ({"updates": []}, "invalid_request", "at least one element"),
    "long list": ({"updates": [1] * (MAX_UPDATES_PER_REQUEST + 1)}, "invalid_request", "takes at most"),
}


@pytest.mark.parametrize(("body", "code", "part"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_named(body, code, part):
    with pytest.raises(BadRequest) as refused:
        decode(body)
    assert refused.value.code == code
    assert part in refused.value.message


IN_LISTS = {
    "no object": (b"3", "invalid_request", "updates[0] must be a JSON object"),
    "no label": (b'{"query_id": "a"}', "invalid_request", "'updates[0].label' is missing"),
    "nested list": (b'{"updates": []}', "invalid_request", "is not a field of feedback"),
    "input": (b'{"label": 1, "input": [true]}', "invalid_input", "updates[0].input[0] must be a number"),
    "label": (b'{"label": 1e999, "query_id": "a"}', "invalid_label", "updates[0].label"),
}


@pytest.mark.parametrize(("element", "code", "part"), IN_LISTS.values(), ids=IN_LISTS)
def test_what_is_refused_in_a_list_is_named_with_its_place(element, code, part):
    refused, good = decode(b'{"updates": [%b, {"label": 1, "query_id": "a"}]}' % element)
    assert isinstance(refused, ClipperError)
    assert (refused.code, part in refused.message) == (code, True), refused.message
    assert good == Update(label=1, query_id="a")


@given(st.binary(max_size=40) | st.text('{}[]":,updateslabelqueryid0123456789 ', max_size=60).map(str.encode))
def test_no_bytes_are_worse_than_a_bad_request(body):
    with contextlib.suppress(BadRequest):
        assert isinstance(decode(body), Update | list)

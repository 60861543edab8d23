"""Bodies to queries, without a server."""

import base64
import contextlib
import json
import math
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rest_fakes import FakeApplication

from clipper.domain import Query
from clipper.errors import BadRequest, InvalidInput
from clipper.inputs import encode_input
from clipper_frontends.rest.body import decode_body
from clipper_frontends.rest.rows import RowReader

READER = RowReader()
NUMERIC = ["doubles", "floats", "integers"]


def decode(body, app=None, **fields):
    return decode_body(body, app or FakeApplication(**fields), READER, 12.5)


def test_one_input():
    assert decode(b'{"input": [1, 2.5]}') == Query("digits", struct.pack("<2d", 1, 2.5), 12.5)


def test_a_batch():
    rows = [query.row for query in decode(b'{"input_batch": [[1], [2, 3]]}')]
    assert rows == [struct.pack("<d", 1), struct.pack("<2d", 2, 3)]


def test_a_batch_of_one_is_a_batch():
    assert isinstance(decode(b'{"input_batch": [[1]]}'), list)


def test_options_reach_every_query():
    body = b'{"input_batch": [[1], [2]], "uid": "u", "timeout_ms": 15, "version": 2, "explain": true}'
    for query in decode(body):
        assert (query.uid, query.timeout_ms, query.version, query.explain) == ("u", 15.0, "2", True)


@pytest.mark.parametrize("huge", ["1e308", "1" + "0" * 300, "99999999999999999999"])
def test_a_timeout_of_any_size_is_taken(huge):
    assert math.isfinite(decode(b'{"input": [1], "timeout_ms": %s}' % huge.encode()).timeout_ms)


def test_the_last_of_two_equal_fields_counts_on_every_path():
    assert decode(b'{"input":[1],"input":[2]}').row == struct.pack("<d", 2)
    assert decode(b'{"input":[1] ,"input":[2]}').row == struct.pack("<d", 2)


@pytest.mark.parametrize(
    ("input_type", "text", "value"),
    [
        ("strings", '"h\\u00e9llo"', "héllo"),
        ("strings", '""', ""),
        ("bytes", json.dumps(base64.b64encode(b"\x00\xff").decode()), b"\x00\xff"),
        ("json", '{"b": [1, {"c": null}], "a": 1.5}', {"a": 1.5, "b": [1, {"c": None}]}),
        ("json", "null", None),
        ("json", "100000000000000000000000000", 10**26),
        ("integers", "[1.0, 2]", [1, 2]),
        ("integers", "[-2147483648, 2147483647]", [-(2**31), 2**31 - 1]),
        ("floats", "[1, 2]", [1, 2]),
        ("doubles", "[18446744073709551616, 1]", [2.0**64, 1]),
        ("doubles", "[ 1 ,\\n2 ]".replace("\\n", "\n"), [1, 2]),
    ],
)
def test_every_input_type(input_type, text, value):
    row = encode_input(input_type, value)
    for spaces in ("", " "):
        assert decode(f'{{"input":{spaces}{text}}}'.encode(), input_type=input_type).row == row
        assert decode(f'{{"input_batch": [{text}{spaces}]}}'.encode(), input_type=input_type)[0].row == row


REFUSALS = [
    # body, application, code, part of the sentence
    (b"", {}, "invalid_json", "The body is empty"),
    (b"  ", {}, "invalid_json", "The body is empty"),
    (b"{", {}, "invalid_json", "not valid JSON"),
    (b"\xef\xbb\xbf" + b'{"input":[1]}', {}, "invalid_json", "not valid JSON"),
    (b'{"input":[1]}x', {}, "invalid_json", "not valid JSON"),
    (b'{"input":[1]} {}', {}, "invalid_json", "not valid JSON"),
    (b'{"input":[1,]}', {}, "invalid_json", "not valid JSON"),
    (b'{"input":[01]}', {}, "invalid_json", "not valid JSON"),
    (b'{"input":[NaN]}', {}, "invalid_json", "not valid JSON"),
    (b'{"input":[Infinity]}', {}, "invalid_json", "not valid JSON"),
    (b'{"input":[1], "uid": "\xff"}', {}, "invalid_json", "'uid' is not valid JSON"),
    (b'{"input":[1], "uid": "\\ud800"}', {}, "invalid_json", "not valid JSON"),
    (b"[1]", {}, "invalid_request", "must be a JSON object"),
    (b"null", {}, "invalid_request", "must be a JSON object"),
    (b"{}", {}, "invalid_request", "neither came"),
    (b'{"input":[1],"input_batch":[[1]]}', {}, "invalid_request", "both came"),
    (b'{"input":[1],"inputs":1}', {}, "invalid_request", '"inputs" is not a field of a query'),
    (b'{"input":[]}', {}, "invalid_input", "input must have at least one number, got an empty list."),
    (b'{"input":null}', {}, "invalid_input", "input must be a list of numbers, got null."),
    (b'{"input":"1"}', {}, "invalid_input", 'input must be a list of numbers, got "1".'),
    (b'{"input":{"a":1}}', {}, "invalid_input", "input must be a list of numbers, got"),
    (b'{"input":[1,2,3,true]}', {}, "invalid_input", "input[3] must be a number, got true."),
    (b'{"input":[[1],[2]]}', {}, "invalid_input", "input[0] must be a number, got [1]."),
    (b'{"input":[1,{}]}', {}, "invalid_input", "input[1] must be a number, got {}."),
    (
        b'{"input":[1,1e400]}',
        {},
        "invalid_input",
        "input[1] must be a finite number, got 1e400, which is out of range.",
    ),
    (b'{"input":[1%s]}' % (b"0" * 5000), {}, "invalid_input", "input[0] must be a finite number"),
    (b'{"input":[1%s]}' % (b"0" * 310), {}, "invalid_input", "input[0] must be a finite 64-bit number"),
    (b'{"input":[1,2]}', {"input_width": 3}, "invalid_input", "input must have 3 numbers, got 2."),
    (b'{"input":[1, 2], "explain": true}', {"input_width": 3}, "invalid_input", "input must have 3 numbers, got 2."),
    (
        b'{"input":[1e39]}',
        {"input_type": "floats"},
        "invalid_input",
        "input[0] must be a finite number within the 32-bit",
    ),
    (b'{"input":[1.5]}', {"input_type": "integers"}, "invalid_input", "input[0] must be a whole number"),
    (b'{"input":[1,2147483648]}', {"input_type": "integers"}, "invalid_input", "input[1] must be a whole number"),
    (b'{"input":[1]}', {"input_type": "strings"}, "invalid_input", "input must be a string, got [1]."),
    (b'{"input":"%%%"}', {"input_type": "bytes"}, "invalid_input", "input must be base64"),
    (b'{"input":"YQ"}', {"input_type": "bytes"}, "invalid_input", "input must be base64"),
    (b'{"input":"YQ==\\n"}', {"input_type": "bytes"}, "invalid_input", "input must be base64"),
    (b'{"input":1}', {"input_type": "bytes"}, "invalid_input", "input must be a string of base64, got 1."),
    (b'{"input":{"a":[1e999]}}', {"input_type": "json"}, "invalid_input", "out of range"),
    (b'{"input_batch":[]}', {}, "invalid_input", "input_batch must have at least one input"),
    (b'{"input_batch":3}', {}, "invalid_input", "input_batch must be a list of inputs, got 3."),
    (b'{"input_batch":[1,2]}', {}, "invalid_input", "input_batch[0] must be a list of numbers, got 1."),
    (b'{"input_batch":[[1],[true]]}', {}, "invalid_input", "input_batch[1][0] must be a number, got true."),
    (b'{"input_batch":[[1,2],[1]]}', {"input_width": 2}, "invalid_input", "input_batch[1] must have 2 numbers, got 1."),
    (b'{"input_batch":[%s]}' % b",".join([b"[1]"] * 16_385), {}, "invalid_input", "at most 16384"),
    (
        b'{"input":[1],"timeout_ms":0}',
        {},
        "invalid_request",
        "'timeout_ms' must be a number of milliseconds above 0, got 0.",
    ),
    (b'{"input":[1],"timeout_ms":-1.5}', {}, "invalid_request", "'timeout_ms'"),
    (b'{"input":[1],"timeout_ms":"15"}', {}, "invalid_request", "'timeout_ms'"),
    (b'{"input":[1],"timeout_ms":true}', {}, "invalid_request", "'timeout_ms'"),
    (b'{"input":[1],"timeout_ms":null}', {}, "invalid_request", "'timeout_ms'"),
    (b'{"input":[1],"timeout_ms":1e999}', {}, "invalid_request", "'timeout_ms'"),
    (b'{"input":[1],"uid":7}', {}, "invalid_request", "'uid' must be a string"),
    (b'{"input":[1],"uid":""}', {}, "invalid_request", "'uid' must be a string"),
    (b'{"input":[1],"uid":"%s"}' % (b"u" * 257), {}, "invalid_request", "'uid' must be a string"),
    (b'{"input":[1],"explain":1}', {}, "invalid_request", "'explain' must be true or false, got 1."),
    (b'{"input":[1],"version":1.5}', {}, "invalid_request", "'version' must be the name of a version, got 1.5."),
    (b'{"input":[1],"version":true}', {}, "invalid_request", "'version'"),
    (b'{"input":[1],"version":"2"}', {"policy_name": "exp4"}, "invalid_request", "under the policy 'single' only"),
]


@pytest.mark.parametrize(("body", "app", "code", "part"), REFUSALS, ids=lambda value: str(value)[:40])
def test_what_is_refused_is_named(body, app, code, part):
    with pytest.raises(BadRequest) as refusal:
        decode(body, **app)
    assert refusal.value.code == code
    assert part in refusal.value.message


NUMBER_TEXT = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(
        ["-0", "-0.0", "1e400", "5e-324", "1e-400", "true", "null", '"1"', "[1]", "{}", "01", "1.", "-", ""]
    ),
)


@given(
    items=st.lists(NUMBER_TEXT, max_size=6),
    input_type=st.sampled_from(NUMERIC),
    width=st.sampled_from([None, 2]),
    space=st.sampled_from(["", " "]),
)
@example(items=["-0", "0"], input_type="doubles", width=None, space="")
def test_the_fast_path_and_the_general_one_agree(items, input_type, width, space):
    text = "[" + ",".join(items) + "]"
    app = FakeApplication(input_type=input_type, input_width=width)

    def outcome(body):
        try:
            return decode(body.encode(), app).row
        except BadRequest as refusal:
            return refusal.code

    fast = outcome(f'{{"input":{space}{text}}}')
    general = outcome(f'{{ "input": {text}}}')
    assert fast == general
    if isinstance(fast, bytes):
        try:
            assert fast == encode_input(input_type, json.loads(text), width)
        except InvalidInput:
            pytest.fail("accepted what the encoder refuses")


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_no_bytes_are_worse_than_a_bad_request(body):
    for input_type in ("doubles", "json"):
        with contextlib.suppress(BadRequest):
            decode(body, input_type=input_type)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["input", "input_batch", "uid", "timeout_ms", "version", "explain", "x"]), inner
            )
        ),
        max_leaves=10,
    ),
    st.sampled_from([*NUMERIC, "strings", "bytes", "json"]),
)
def test_no_json_is_worse_than_a_bad_request(value, input_type):
    with contextlib.suppress(BadRequest):
        decode(json.dumps(value).encode(), input_type=input_type)


def test_a_refusal_does_not_spoil_the_parser_for_the_next_request():
    for body in (b'{"input":[1,true]}', b'{"input":[1', b'{"input":[[1]]}', b'{"input":[]}'):
        with pytest.raises(BadRequest):
            decode(body)
        assert decode(b'{"input":[1]}').row == struct.pack("<d", 1)

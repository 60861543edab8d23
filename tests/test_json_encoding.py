"""JSON that came from elsewhere is a value or a sentence, whatever the bytes."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.errors import InvalidJson
from clipper.json_encoding import decode


@given(st.one_of(st.binary(), st.binary().map(lambda inner: b'{"a": "%b"}' % inner)))
def test_any_bytes_are_a_value_or_refused(text):
    try:
        value = decode(text, "The body")
    except InvalidJson:
        return
    json.dumps(value, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b'{"a": "\xff"}', "must be JSON: 'utf-8' codec"),
        (b'"\\ud800"', "must be JSON: "),
        (b"[" * 100_000, "must be JSON; it is nested too deeply."),
        (b'{"a":' * 100_000, "must be JSON; it is nested too deeply."),
        (b"[NaN]", "must be JSON: "),
        (b"[-Infinity]", "must be JSON: "),
        (b"1e999", "must be JSON: "),
        (b"", "must be JSON: "),
    ],
)
def test_what_could_not_be_stored_is_refused(text, sentence):
    with pytest.raises(InvalidJson, match=re.escape(f"The part {sentence}")):
        decode(text, "The part")

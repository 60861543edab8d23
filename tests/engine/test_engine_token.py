import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.engine.token import Claims, TokenKey
from clipper.errors import UnknownQuery

KEY = TokenKey(b"k" * 32)
CLAIMS = Claims(
    7, 1e9, b"n" * 12, "user-7", b"d" * 16, ["svm"], ["svm:2"], [0.25], [b'"cat"'], b"-1", True, ["svm", "forest"]
)
TOKEN = KEY.mint("digits", CLAIMS)
outputs = st.lists(st.none() | st.binary(max_size=80), min_size=1, max_size=20)


def refused(text, application="digits", key=KEY):
    with pytest.raises(UnknownQuery, match="send the input instead"):
        key.open(application, text)


@given(
    outputs,
    st.none() | st.text(max_size=40),
    st.binary(min_size=12, max_size=12),
    st.floats(0, 4e9),
    st.integers(0, 2**60),
)
def test_an_id_carries_its_claims(outputs, uid, nonce, answered_at, generation):
    names = [f"m{i}" for i in range(len(outputs))]
    claims = Claims(
        generation, answered_at, nonce, uid, b"", names, [f"{n}:1" for n in names], [0.5] * len(names), outputs
    )
    assert KEY.open("digits", KEY.mint("digits", claims)) == claims


def test_an_id_is_short_enough_for_a_log_line_and_safe_in_a_url():
    assert len(TOKEN) < 200
    assert set(TOKEN) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.integers(0, 10**6))
def test_no_bit_of_an_id_can_be_flipped(position):
    data = bytearray(binascii.a2b_base64(TOKEN.replace("-", "+").replace("_", "/") + "=" * (-len(TOKEN) % 4)))
    data[position // 8 % len(data)] ^= 1 << position % 8
    forged = binascii.b2a_base64(bytes(data), newline=False).decode().rstrip("=").replace("+", "-").replace("/", "_")
    refused(forged)


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_no_character_of_an_id_can_be_another_one(position, character):
    forged = TOKEN[:position] + character + TOKEN[position + 1 :]
    if forged != TOKEN:
        refused(forged)


@given(st.text())
def test_any_other_text_is_no_id(text):
    refused(text)


@pytest.mark.parametrize("text", ["", "=", "A", "1f0c-2a", TOKEN[:-1], TOKEN + "=", TOKEN + "A", "A" * 100_000])
def test_what_is_cut_off_or_foreign_is_no_id(text):
    refused(text)


def test_an_id_belongs_to_one_application_and_one_installation():
    refused(TOKEN, application="digit")
    refused(TOKEN, key=TokenKey(b"K" * 32))


def test_equal_inputs_have_equal_digests_within_an_installation():
    assert KEY.input_digest(b"row") == TokenKey(b"k" * 32).input_digest(b"row")
    assert KEY.input_digest(b"row") != KEY.input_digest(b"raw")
    assert KEY.input_digest(b"row") != TokenKey(b"K" * 32).input_digest(b"row")

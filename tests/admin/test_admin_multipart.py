"""The multipart reader: whatever the chunks, the same parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.errors import InvalidRequest, TooLarge
from clipper_frontends.rest.admin.multipart import parts

BOUNDARY = "frontier"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def encode(fields: list[tuple[str, bytes]]) -> bytes:
    body = b""
    for name, content in fields:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


async def chunks_of(body: bytes, sizes: list[int]):
    position = 0
    for size in sizes:
        yield body[position : position + size]
        position += size
    yield body[position:]


fields = st.lists(
    st.tuples(st.text("abc", min_size=1), st.binary(max_size=200).filter(lambda b: BOUNDARY.encode() not in b)),
    min_size=1,
    max_size=4,
)


@given(fields, st.lists(st.integers(1, 50)))
async def test_parts_do_not_depend_on_the_chunks(fields, sizes):
    body = encode(fields)
    found = [(part.name, await part.read(1000)) async for part in parts(CONTENT_TYPE, chunks_of(body, sizes))]
    assert found == fields


@given(fields, st.lists(st.integers(1, 50)))
async def test_a_part_that_nobody_reads_is_skipped(fields, sizes):
    names = [part.name async for part in parts(CONTENT_TYPE, chunks_of(encode(fields), sizes))]
    assert names == [name for name, _ in fields]


@given(fields, st.data())
async def test_a_body_that_is_cut_is_refused_or_whole(fields, data):
    body = encode(fields)
    end = data.draw(st.integers(0, len(body) - 1))
    try:
        found = [(part.name, await part.read(1000)) async for part in parts(CONTENT_TYPE, chunks_of(body[:end], []))]
    except InvalidRequest:
        return
    assert found == fields  # only the line break behind the last boundary was cut


@given(st.binary(max_size=300))
async def test_any_bytes_are_parts_or_refused(body):
    try:
        async for part in parts(CONTENT_TYPE, chunks_of(body, [])):
            await part.read(1000)
    except InvalidRequest:
        pass


async def test_a_small_part_is_bounded():
    body = encode([("spec", b"x" * 100)])
    part = await anext(parts(CONTENT_TYPE, chunks_of(body, [])))
    with pytest.raises(TooLarge, match="'spec'"):
        await part.read(99)

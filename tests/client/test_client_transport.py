"""What happens when there is no server, no Clipper, or a connection that breaks."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import clipper
from clipper.json_encoding import encode


@contextmanager
def scripted(*answers: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers each connection's first request with these bytes, or closes it (None)."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                peer, _ = listener.accept()
                with peer:
                    heads.append(peer.recv(65536))
                    if answer is not None:
                        peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heads
        thread.join()


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def test_nothing_listening_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with clipper.connect(url) as cl, pytest.raises(clipper.Unreachable, match=f"Cannot reach {url}"):
        cl.get_all_apps()


def test_a_server_that_does_not_answer_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with clipper.connect(url, timeout_s=0.05) as cl, pytest.raises(clipper.Unreachable, match="in time"):
            cl.get_all_apps()


def test_a_read_on_a_connection_that_broke_is_repeated_once():
    with scripted(None, http(b"[]")) as (url, heads), clipper.connect(url) as cl:
        assert cl.get_all_apps() == []
    assert len(heads) == 2


def test_a_change_on_a_connection_that_broke_is_not_repeated():
    with scripted(None) as (url, heads), clipper.connect(url) as cl, pytest.raises(clipper.Unreachable, match="broke"):
        cl.unregister_application("a")
    assert len(heads) == 1


def test_what_is_no_clipper_server_is_told():
    with (
        scripted(http(b"<html>", "502 Bad Gateway")) as (url, _),
        clipper.connect(url) as cl,
        pytest.raises(clipper.ClipperError, match="502"),
    ):
        cl.get_all_apps()


def test_an_unknown_code_keeps_the_class_of_its_status():
    answer = http(b'{"error": "Later.", "code": "from_the_future", "retry_after_ms": 1500}', "429 Too Many Requests")
    with scripted(answer) as (url, _), clipper.connect(url) as cl, pytest.raises(clipper.Overloaded) as failure:
        cl.get_all_apps()
    assert failure.value.code == "from_the_future"
    assert failure.value.retry_after_s == 1.5


def test_the_token_goes_to_the_admin_api_and_nowhere_else():
    answer = http(b'{"query_id": "q", "output": 1, "default": false}')
    with (
        scripted(answer) as (query_url, to_query),
        scripted(http(b"[]")) as (url, to_admin),
        clipper.connect(url, "secret", query_url) as cl,
    ):
        cl.predict("a", [1.0])
        cl.get_all_apps()
    assert b"secret" not in to_query[0]
    assert b"authorization: bearer secret" in to_admin[0].lower()


@pytest.mark.parametrize("url", ["127.0.0.1:1338", "ftp://host", "http://", "nonsense"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(clipper.BadRequest):
        clipper.connect(url)


@pytest.mark.parametrize("name", ["timeout_s", "connect_timeout_s", "max_connections"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_that_let_nothing_through_are_refused(name, value):
    for connect in (clipper.connect, clipper.connect_async):
        with pytest.raises(clipper.BadRequest, match=f"{name} must be above 0"):
            connect(**{name: value})


def test_address_and_token_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("CLIPPER_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("CLIPPER_ADMIN_TOKEN", "t")
    with clipper.connect() as cl:
        assert (cl.session.admin_url, cl.session.token) == ("http://127.0.0.1:9", "t")


@pytest.mark.parametrize(("value", "text"), [(b"\x00", b'"AA=="'), (bytearray(b"a"), b'"YQ=="'), ((1, 2), b"[1,2]")])
def test_python_values_as_json(value, text):
    assert encode({"x": value}) == b'{"x":' + text + b"}"

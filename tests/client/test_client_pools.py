"""Queries over HTTP: connections that are kept, shared and bounded, and answers however they come."""

import asyncio
import os
import shutil
import ssl
import subprocess
import threading

import pytest
from asking import BY_BOTH, FINE, PREDICT, ask
from scripted_server import ANSWER, CLOSE, Asked, http, scripted_server, then

import clipper
from clipper.client.wire import is_direct


@BY_BOTH
def test_one_connection_serves_query_after_query(awaited):
    with scripted_server(then(FINE)) as server:
        ask(server.url, *[PREDICT] * 30, awaited=awaited)
    assert (server.connections, len(server.asked)) == (1, 30)


def test_threads_have_a_connection_each_and_get_their_own_answers(cl, summing):
    with clipper.connect(cl.session.admin_url) as shared:
        wrong = []

        def work(number):
            outputs = [shared.predict(summing, [float(number), float(i)]).output for i in range(40)]
            wrong.extend(output for i, output in enumerate(outputs) if output != number + i)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


async def test_tasks_share_no_more_connections_than_are_allowed():
    def script(asked: Asked):
        return FINE

    with scripted_server(script) as server:
        async with clipper.connect_async(query_url=server.url, max_connections=4) as cl:
            answers = await asyncio.gather(*(cl.predict("a", [1.0]) for _ in range(60)))
    assert len(answers) == len(server.asked) == 60
    assert server.most_open <= 4


async def test_many_tasks_get_their_own_answers(cl, summing):
    async with clipper.connect_async(cl.session.admin_url, max_connections=16) as shared:
        answers = await asyncio.gather(*(shared.predict(summing, [float(i), 1.0]) for i in range(300)))
    assert [one.output for one in answers] == [i + 1.0 for i in range(300)]


def test_threads_wait_for_a_free_connection():
    with (
        scripted_server(then(FINE)) as server,
        clipper.connect(query_url=server.url, max_connections=2) as cl,
    ):
        threads = [threading.Thread(target=lambda: [cl.predict("a", [1.0]) for _ in range(10)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.asked) == 80
    assert server.most_open <= 2


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


@BY_BOTH
@pytest.mark.parametrize(
    "answer",
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(ANSWER[:16]), chunk(ANSWER[16:]) + chunk(b"")),
        (b"HTTP/1.1 200 OK\r\n\r\n" + ANSWER, CLOSE),
        (b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER, CLOSE),
        (http(ANSWER, "200 OK", "Connection: close"), CLOSE),
        tuple(bytes([byte]) for byte in http(ANSWER)),
    ],
    ids=["chunked", "until the end", "HTTP/1.0", "closing", "byte by byte"],
)  # fmt: skip
def test_an_answer_is_read_however_it_is_delimited(awaited, answer):
    with scripted_server(then(answer)) as server:
        answers = ask(server.url, PREDICT, PREDICT, awaited=awaited)
    assert [one.output for one in answers] == [1, 1]
    assert server.connections == (2 if CLOSE in answer else 1)


@BY_BOTH
def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced(awaited):
    """Also for what is not repeated: nothing was sent on the old one, or the server had closed it before."""
    with scripted_server(then((*FINE, CLOSE), FINE)) as server:

        async def awaiting():
            async with clipper.connect_async(query_url=server.url) as cl:
                await cl.predict("a", [1.0])
                await asyncio.to_thread(server.gone.acquire)
                await asyncio.sleep(0)
                return await cl.predict("a", [1.0])

        if awaited:
            assert asyncio.run(awaiting()).output == 1
        else:
            with clipper.connect(query_url=server.url) as cl:
                cl.predict("a", [1.0])
                server.gone.acquire()
                assert cl.predict("a", [1.0]).output == 1
    assert (server.connections, len(server.asked)) == (2, 2)


def test_a_child_process_does_not_speak_on_its_parents_connections(monkeypatch):
    with scripted_server(then(FINE)) as server, clipper.connect(query_url=server.url) as cl:
        cl.predict("a", [1.0])
        monkeypatch.setattr("clipper.client.blocking_pool.os.getpid", lambda: -1)
        cl.predict("a", [1.0])
        assert server.connections == 2


@BY_BOTH
def test_a_path_before_the_applications_and_the_host_are_sent(awaited):
    with scripted_server(then(FINE)) as server:
        ask(f"{server.url}/models/", PREDICT, awaited=awaited)
    assert server.asked[0].head.startswith(b"POST /models/a/predict HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % server.port)


@pytest.mark.parametrize(
    ("url", "environment", "direct"),
    [
        ("http://models.example:1337", {}, True),
        ("http://models.example:1337", {"http_proxy": "http://proxy:3128"}, False),
        ("http://models.example:1337", {"http_proxy": "http://proxy:3128", "no_proxy": ".example"}, True),
        ("https://models.example", {"http_proxy": "http://proxy:3128"}, True),
        ("http://127.0.0.1:1337", {"http_proxy": "http://proxy:3128"}, True),
        ("http://name:word@models.example:1337", {}, False),
    ],
)
def test_where_a_proxy_is_between_queries_go_through_it(monkeypatch, url, environment, direct):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_direct(url) is direct


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -keyout key.pem -out cert.pem -subj /CN=localhost"
    named = ("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    subprocess.run([*command.split(), *named], cwd=folder, check=True, capture_output=True)
    return folder


@BY_BOTH
def test_queries_go_over_tls_and_only_to_whom_the_certificate_names(awaited, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def wrap(sock):
        return context.wrap_socket(sock, server_side=True)

    with scripted_server(then(FINE), wrap=wrap) as server:
        url = f"https://localhost:{server.port}"
        with pytest.raises(clipper.Unreachable, match="certificate"):
            ask(url, PREDICT, awaited=awaited)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
        answers = ask(url, PREDICT, PREDICT, awaited=awaited)
    assert [one.output for one in answers] == [1, 1]

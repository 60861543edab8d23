"""Queries over HTTP: connections that are kept, bounded and given up in time; repeats only where they do no harm."""

import asyncio
import itertools
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
from scripted_server import ANSWER, CLOSE, HANG, Asked, http, scripted_server, then

import clipper
from clipper.client.wire import is_direct

FINE = (http(ANSWER),)
DUPLICATE = (http(b'{"error": "It was given already.", "code": "duplicate_feedback"}', "409 Conflict"),)
ACCEPTED = (http(b'{"accepted": 1}'),)
AWAITED = [False, True]
BY_BOTH = pytest.mark.parametrize("awaited", AWAITED, ids=["blocking", "awaited"])


def ask(url, *calls, awaited, **options):
    """What the calls return, one after the other; each is a name, arguments and named arguments."""
    if awaited:

        async def run():
            async with clipper.connect_async(query_url=url, **options) as cl:
                return [await getattr(cl, name)(*arguments, **named) for name, arguments, named in calls]

        return asyncio.run(run())
    with clipper.connect(query_url=url, **options) as cl:
        return [getattr(cl, name)(*arguments, **named) for name, arguments, named in calls]


PREDICT = ("predict", ["a", [1.0]], {})


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


@BY_BOTH
def test_a_prediction_is_repeated_once_where_the_connection_broke_before_the_answer(awaited):
    with scripted_server(then((CLOSE,), FINE)) as server:
        (answer,) = ask(server.url, PREDICT, awaited=awaited)
    assert answer.output == 1
    assert len(server.asked) == 2
    with scripted_server(then((CLOSE,))) as server, pytest.raises(clipper.Unreachable, match="broke"):
        ask(server.url, PREDICT, awaited=awaited)
    assert len(server.asked) == 2


@BY_BOTH
def test_nothing_is_repeated_once_a_byte_of_the_answer_came(awaited):
    with (
        scripted_server(then((http(ANSWER)[:-5], CLOSE))) as server,
        pytest.raises(clipper.Unreachable, match="in the middle of the answer"),
    ):
        ask(server.url, PREDICT, awaited=awaited)
    assert len(server.asked) == 1


@BY_BOTH
@pytest.mark.parametrize("second", [ACCEPTED, DUPLICATE], ids=["not committed", "committed"])
@pytest.mark.parametrize(
    "named", [{"query_id": "q"}, {"input": [1.0], "update_id": "u"}], ids=["query_id", "update_id"]
)
def test_feedback_that_has_a_name_is_repeated_and_counts_once(awaited, second, named):
    with scripted_server(then((CLOSE,), second)) as server:
        assert ask(server.url, ("update", ["a"], {"label": 1, **named}), awaited=awaited) == [1]
    assert len(server.asked) == 2


@BY_BOTH
def test_a_duplicate_that_was_sent_once_is_one(awaited):
    with scripted_server(then(DUPLICATE)) as server, pytest.raises(clipper.DuplicateFeedback):
        ask(server.url, ("update", ["a"], {"label": 1, "query_id": "q"}), awaited=awaited)


@BY_BOTH
@pytest.mark.parametrize(
    "call",
    [("update", ["a"], {"label": 1, "input": [1.0]}), ("update_many", ["a", [{"query_id": "q", "label": 1}]], {})],
    ids=["without a name", "a list"],
)
def test_feedback_that_could_count_twice_is_not_repeated(awaited, call):
    with scripted_server(then((CLOSE,), ACCEPTED)) as server, pytest.raises(clipper.Unreachable, match="broke"):
        ask(server.url, call, awaited=awaited)
    assert len(server.asked) == 1


@BY_BOTH
def test_a_server_that_hangs_is_given_up_in_time(awaited):
    with scripted_server(then((HANG,))) as server, pytest.raises(clipper.Unreachable, match="not answer") as late:
        ask(server.url, PREDICT, awaited=awaited, timeout_s=0.1)
    assert late.value.code == "unreachable"


@BY_BOTH
def test_a_server_that_trickles_does_not_keep_its_caller(awaited):
    """The timeout is for the whole answer, not from byte to byte; without it this would never end."""
    line = (b"X-A: b\r\n", lambda: time.sleep(0.02))
    trickle = itertools.chain((b"HTTP/1.1 200 OK\r\n",), itertools.cycle(line))
    with scripted_server(then(trickle)) as server, pytest.raises(clipper.Unreachable, match="not answer"):
        ask(server.url, PREDICT, awaited=awaited, timeout_s=0.3)


@BY_BOTH
def test_a_late_answer_is_not_the_answer_to_the_next_query(awaited):
    release = threading.Event()
    late = http(ANSWER.replace(b'"output": 1', b'"output": "late"'))
    with scripted_server(lambda asked: (release.wait, late) if b"7.5" in asked.body else FINE) as server:

        async def awaiting():
            async with clipper.connect_async(query_url=server.url, timeout_s=0.1) as cl:
                with pytest.raises(clipper.Unreachable):
                    await cl.predict("a", [7.5])
                release.set()
                cl._pool._timeout_s = 30.0
                return await cl.predict("a", [1.0])

        if awaited:
            assert asyncio.run(awaiting()).output == 1
        else:
            with clipper.connect(query_url=server.url, timeout_s=0.1) as cl:
                with pytest.raises(clipper.Unreachable):
                    cl.predict("a", [7.5])
                release.set()
                cl._pool._timeout_s = 30.0
                assert cl.predict("a", [1.0]).output == 1


async def test_when_no_connection_is_free_in_time_the_error_says_so():
    with scripted_server(then((HANG,))) as server:
        async with clipper.connect_async(query_url=server.url, max_connections=1) as cl:
            first = asyncio.ensure_future(cl.predict("a", [1.0]))
            await asyncio.to_thread(server.received.acquire)
            cl._pool._timeout_s = 0.05
            with pytest.raises(clipper.Unreachable, match=r"All 1 connections to .* were taken"):
                await cl.predict("a", [1.0])
            first.cancel()


async def test_a_query_that_is_cancelled_gives_its_connection_up():
    with scripted_server(then((HANG,))) as server:
        async with clipper.connect_async(query_url=server.url) as cl:
            asking = asyncio.ensure_future(cl.predict("a", [1.0]))
            await asyncio.to_thread(server.received.acquire)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert await asyncio.to_thread(server.gone.acquire, timeout=20)


@BY_BOTH
def test_nothing_listening_is_unreachable(awaited):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(clipper.Unreachable, match=f"Cannot reach {url}: .*refused"):
        ask(url, PREDICT, awaited=awaited)


@BY_BOTH
def test_a_server_that_takes_no_connection_is_given_up_in_time(awaited):
    """A full backlog: the kernel answers no further attempt."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    try:
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(clipper.Unreachable, match="it does not answer"):
            ask(url, PREDICT, awaited=awaited, connect_timeout_s=0.1)
    finally:
        for one in [*waiting, listener]:
            one.close()


@BY_BOTH
def test_what_is_no_http_is_told(awaited):
    with (
        scripted_server(then((b"SSH-2.0-OpenSSH\r\n", CLOSE))) as server,
        pytest.raises(clipper.Unreachable, match="no HTTP"),
    ):
        ask(server.url, PREDICT, awaited=awaited)


@BY_BOTH
def test_an_early_refusal_of_a_large_body_is_read(awaited):
    refusal = http(b'{"error": "Too long.", "code": "too_large"}', "413 Too Large", "Connection: close")

    def serve(listener):
        peer, _ = listener.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(refusal)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1 << 20):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with pytest.raises(clipper.ClipperError) as refused:
            ask(
                f"http://127.0.0.1:{listener.getsockname()[1]}",
                ("predict", ["a", "x" * 5_000_000], {}),
                awaited=awaited,
            )
        thread.join()
    assert refused.value.code == "too_large"


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

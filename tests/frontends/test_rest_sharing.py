"""One address for several processes of one server, and for nobody else."""

import socket

import pytest

from clipper_frontends.rest.server import join, listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_shared_address_gives_clients_to_everyone_who_listens(host):
    with listen(host, 0, shared=True) as first, join(host, first.getsockname()[1]) as second:
        second.listen()
        clients = [socket.create_connection(first.getsockname()[:2]) for _ in range(64)]
        assert all(accepted(listener) for listener in (first, second))
        for client in clients:
            client.close()


def test_a_socket_that_joined_gets_nobody_before_it_listens():
    with listen("127.0.0.1", 0, shared=True) as first, join("127.0.0.1", first.getsockname()[1]):
        clients = [socket.create_connection(first.getsockname()) for _ in range(64)]
        assert accepted(first) == 64
        for client in clients:
            client.close()


@pytest.mark.parametrize("shared", [True, False])
def test_another_server_cannot_take_an_address_be_it_shared_or_not(shared):
    with listen("127.0.0.1", 0, shared=True) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=str(port)):
            listen("127.0.0.1", port, shared=shared)


def test_nobody_joins_an_address_that_is_not_shared():
    with listen("127.0.0.1", 0) as alone:
        port = alone.getsockname()[1]
        with pytest.raises(OSError, match=str(port)):
            join("127.0.0.1", port)


def accepted(listener: socket.socket) -> int:
    listener.setblocking(False)
    count = 0
    while True:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return count
        client.close()
        count += 1

"""Connections for queries that are kept between them, for any number of threads."""

import os
import select
import socket
import threading
import time

import httptools

from clipper.client.steps import Reply, Request
from clipper.client.wire import Broken, Place, ReplyReader, reason_of

_RECEIVED_AT_ONCE = 1 << 16


class BlockingPool:
    """Asks queries of one address, each on a connection of its own while it is under way.

    ``timeout_s`` is for everything about a query, from waiting for a connection to the last byte of its answer.
    """

    def __init__(self, url: str, timeout_s: float, connect_timeout_s: float, max_connections: int) -> None:
        self.url = url
        self._place = Place.of(url)
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._max_connections = max_connections
        self._free = threading.Semaphore(max_connections)
        self._idle: list[_Connection] = []
        self._process = os.getpid()
        self._closed = False

    def close(self) -> None:
        """Close every connection that is idle now; those in use follow when they are given back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def ask(self, request: Request) -> Reply:
        """The answer; asked a second time where the connection broke before it and a repeat does no harm.

        Raises:
            Unreachable: There is no server, no answer in time, or the connection broke.
        """
        deadline_s = time.monotonic() + self._timeout_s
        if not self._free.acquire(timeout=self._timeout_s):
            raise self._place.busy(self._max_connections)
        try:
            data = self._place.request(request)
            try:
                return self._ask(self._idle_one() or self._open(deadline_s), data, deadline_s, repeated=False)
            except Broken as broken:
                if not request.repeatable:
                    raise self._place.broke(str(broken)) from None
            try:
                return self._ask(self._open(deadline_s), data, deadline_s, repeated=True)
            except Broken as broken:
                raise self._place.broke(str(broken)) from None
        finally:
            self._free.release()

    def _ask(self, connection: "_Connection", data: bytes, deadline_s: float, *, repeated: bool) -> Reply:
        try:
            reader = connection.ask(data, deadline_s)
        except TimeoutError:
            connection.close()
            raise self._place.late() from None
        except BaseException:  # Ctrl-C too: an answer that is not read now would be the next query's
            connection.close()
            raise
        if reader.keeps_alive and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()
        return reader.reply(repeated=repeated)

    def _idle_one(self) -> "_Connection | None":
        if self._process != os.getpid():  # a child must not speak on its parent's connections
            self._process, parents, self._idle = os.getpid(), self._idle, []
            for connection in parents:
                connection.close()  # the parent's end of it stays open
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if connection.is_usable():
                return connection
            connection.close()
        return None

    def _open(self, deadline_s: float) -> "_Connection":
        place = self._place
        left_s = min(self._connect_timeout_s, max(deadline_s - time.monotonic(), 1e-3))
        try:
            raw = socket.create_connection((place.host, place.port), left_s)
        except TimeoutError:
            raise place.unreachable("it does not answer") from None
        except OSError as error:
            raise place.unreachable(reason_of(error)) from None
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls = place.tls
            return _Connection(raw if tls is None else tls.wrap_socket(raw, server_hostname=place.host), place)
        except OSError as error:
            raw.close()
            raise place.unreachable(reason_of(error)) from None


class _Connection:
    def __init__(self, sock: socket.socket, place: Place) -> None:
        self._socket = sock
        self._place = place
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def is_usable(self) -> bool:
        """An idle connection on which something came was closed, or is out of step."""
        return not self._poll.poll(0)

    def close(self) -> None:
        self._socket.close()

    def ask(self, data: bytes, deadline_s: float) -> ReplyReader:
        """The whole reply to one request.

        Raises:
            Broken: The connection ended before a byte of the reply.
            Unreachable: It ended in the middle of it.
            TimeoutError: The deadline passed.
        """
        failure = self._send(data, deadline_s)
        reader = ReplyReader()
        try:
            self._receive(reader, deadline_s)
        except TimeoutError:
            raise
        except OSError as error:
            failure = reason_of(error)
        except httptools.HttpParserError as error:
            raise self._place.broke(f"what came is no HTTP ({error})") from None
        if reader.complete:
            return reader
        if reader.begun:
            raise self._place.broke(f"{failure} in the middle of the answer")
        raise Broken(failure)

    def _send(self, data: bytes, deadline_s: float) -> str:
        """Why the other side would be gone. A server that refuses a large body answers before it has read all of it."""
        try:
            self._wait(deadline_s)
            self._socket.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            return reason_of(error)
        return "it was closed"

    def _receive(self, reader: ReplyReader, deadline_s: float) -> None:
        while not reader.complete:
            self._wait(deadline_s)
            received = self._socket.recv(_RECEIVED_AT_ONCE)
            if received:
                reader.feed(received)
            elif not reader.end():
                return

    def _wait(self, deadline_s: float) -> None:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)

"""Heads of requests of the fast lane that were parsed before, byte for byte, and what the parser made of them.

A client sends the same head again and again; only the content length varies, among few values. Parsing it costs some
4 us of callbacks, more than everything that the engine does with the query; finding it in a dict costs 0.3 us. The same
bytes at the beginning of a request always mean the same, so nothing is decided anew here: a head is learned only
after parser and admission took it, and only as a whole.
"""

from typing import Generic, TypeVar

HEAD_END = b"\r\n\r\n"
MAX_HEAD_BYTES = 2048
MAX_HEADS = 1024


R = TypeVar("R")


class KnownHeads(Generic[R]):
    """Bounded in memory to `MAX_HEADS` times `MAX_HEAD_BYTES`; a full table starts anew."""

    __slots__ = ("_known", "get")

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[R, int]] = {}
        self.get = self._known.get
        """Head -> (route, content length); None where the parser has to look."""

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, request: bytes, route: R, body_bytes: int) -> None:
        """``request`` was one whole request on ``route``, taken in order, on a connection that stays open.

        It is not learned where its body is not simply what follows the head: chunked, or several requests at once.
        """
        end = request.find(HEAD_END) + len(HEAD_END)
        if end > MAX_HEAD_BYTES or len(request) - end != body_bytes:
            return
        if len(self._known) >= MAX_HEADS:
            self._known.clear()
        self._known[request[:end]] = (route, body_bytes)

"""What the client does, written once: generators that yield steps and are sent what came of them.

A driver (`clipper.client.blocking`, `clipper.client.asynchronous`) carries the steps out, either by blocking or by
awaiting. The operations themselves do no I/O, so that both connections have one implementation::

    def get_app_info(session, app):
        reply = yield Request("GET", f"/admin/apps/{app}")
        return reply.json()
"""

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from clipper.errors import ClipperError, from_json

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Upload:
    """The parts of a multipart request: the version's spec and, where there is one, the file with its artifact.

    ``on_sent`` is told how many bytes of the file have gone so far.
    """

    spec: dict[str, Any]
    artifact: Path | None
    on_sent: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to the admin or the query address.

    ``body`` is encoded JSON; where an array's memory is behind it, ``json_bytes`` is the length of the JSON.
    ``repeatable`` says that a second sending does no harm, should the connection break in the middle of the first.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    body: bytes | None = None
    upload: Upload | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    to: Literal["admin", "query"] = "admin"
    json_bytes: int | None = None
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call to the gRPC address; comes to a `Called`. ``repeatable`` as with `Request`."""

    method: str
    message: Any
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    """The message that a call was answered with. ``repeated`` as with `Reply`."""

    message: Any
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next step."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Something that takes the processor or the disk for a while; the asynchronous driver runs it in a thread."""

    run: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer; ``repeated`` to the second sending, of which the first may have reached the server, too."""

    status: int
    body: bytes
    repeated: bool = False

    def json(self) -> Any:
        """The body.

        Raises:
            ClipperError: The status is an error (as the class that its code names), or there is no JSON in the body.
        """
        try:
            value = json.loads(self.body)
        except ValueError:
            text = self.body[:200].decode(errors="replace")
            raise ClipperError(
                f"The server answered with status {self.status} and no JSON: {text!r}. Is this a Clipper server?"
            ) from None
        if self.status >= 400:  # noqa: PLR2004 (where HTTP's errors begin)
            raise from_json(self.status, value if isinstance(value, dict) else {})
        return value


Step: TypeAlias = Request | Call | Pause | Work
Protocol: TypeAlias = Literal["rest", "grpc"]
Steps: TypeAlias = Generator[Step, Any, T]


class Session:
    """What the operations of one connection share: where the server is, and the query addresses once they are known.

    ``protocol`` is what predictions and feedback go by; ``grpc_address`` is ``host:port``; ``takes_arrays`` turns false
    when a server is found to take nothing but JSON.
    """

    __slots__ = ("admin_url", "grpc_address", "protocol", "query_url", "takes_arrays", "token")

    def __init__(
        self,
        admin_url: str,
        token: str | None,
        query_url: str | None,
        grpc_address: str | None = None,
        protocol: Protocol = "rest",
    ) -> None:
        self.admin_url = admin_url
        self.token = token
        self.query_url = query_url
        self.grpc_address = grpc_address
        self.protocol = protocol
        self.takes_arrays = True

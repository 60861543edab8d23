"""Where a replica listens: ``unix:/path`` or ``tcp:host:port``."""

from typing import NamedTuple

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
MAX_UNIX_PATH_BYTES = 107
MAX_PORT = 65_535


class UnixAddress(NamedTuple):
    """A unix socket; both ends are on one host and share a monotonic clock."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class TcpAddress(NamedTuple):
    """A host name or address and a port; 0 asks for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"


def parse_address(text: str) -> UnixAddress | TcpAddress:
    """The address that ``text`` names.

    Raises:
        ValueError: It is neither form; the sentence says what was expected and what came.
    """
    scheme, _, rest = text.partition(":")
    if scheme == "unix" and rest.startswith("/"):
        if len(rest.encode()) > MAX_UNIX_PATH_BYTES:
            raise ValueError(
                f"A unix socket's path has at most {MAX_UNIX_PATH_BYTES} bytes; use a shorter directory than {rest!r}."
            )
        return UnixAddress(rest)
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isascii() and port.isdigit() and int(port) <= MAX_PORT:
        return TcpAddress(host.removeprefix("[").removesuffix("]"), int(port))
    raise ValueError(f"An address is 'unix:/absolute/path' or 'tcp:host:port', not {text!r}.")

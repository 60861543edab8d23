"""TLS between frontends and replicas on different hosts; optional, over TCP only."""

import socket
import ssl
from pathlib import Path

WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a non-blocking socket, encrypted or not, raises where it can do nothing now."""


def server_context(certificate: Path, key: Path, authorities: Path | None) -> ssl.SSLContext:
    """The replica's end: its certificate and key; dialers need certificates of ``authorities`` where these are given.

    Raises:
        ValueError: A file cannot be read or is not what it should be; the sentence says which.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # a dialer does not resume: it stays connected
    try:
        context.load_cert_chain(certificate, key, password=b"")  # never asked for on a terminal
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"the certificate {certificate} and its key {key} cannot be used: {error}") from error
    if authorities is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(authorities)
        except OSError as error:
            raise ValueError(f"the authorities in {authorities} cannot be used: {error}") from error
    return context


def encrypt(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """The socket under TLS, without blocking: receiving carries the handshake along.

    Raises:
        OSError: The peer has left already.
    """
    sock.setblocking(False)
    return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

"""Query ids of applications that learn: what the feedback needs to know, authenticated, carried by the caller.

An id is not looked up anywhere. Any frontend of the installation joins feedback to its query hours later and after a
restart; nobody else can make or alter one. It is urlsafe base64, without padding, of::

    format (1 byte) | claims (msgpack) | keyed blake2b of application, format and claims (16 bytes)

The claims are authenticated and not secret: they hold what the caller sent and got, and the odds of the choice.
"""

import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

import msgspec
from xxhash import xxh3_128_digest

from clipper.errors import UnknownQuery

_FORMAT: Final = b"\x01"
_TAG_BYTES: Final = 16
_MAX_CHARS: Final = 65_536
_TO_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URLSAFE: Final = bytes.maketrans(b"-_", b"+/")

NONCE_BYTES: Final = 12

NO_OUTPUT: Final = b""
"""In place of an output: the one model that was chosen raised or was late, and feedback is to count that as wrong."""


class Claims(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one query asked and got.

    ``generation`` is that of the application, ``answered_at`` the wall clock in seconds, ``nonce`` unique.
    ``arms``, ``models`` (``model:version``), ``propensities`` (1 for members of an ensemble) and ``outputs`` go
    together: one for each model that was asked. An output is JSON, `NO_OUTPUT` where a chosen model had
    none, and None where it is not known here: it is too large for an id, or a member of an ensemble was late; then
    `OutputMemory` may have it. ``answer`` is the JSON that the caller got, where
    it is not simply the one output and not too large. ``eligible`` are the arms that could have been chosen
    where one was: feedback may come when there are others. None in ensembles.
    """

    generation: int
    answered_at: float
    nonce: bytes
    uid: str | None
    input_digest: bytes
    arms: Sequence[str]
    models: Sequence[str]
    propensities: Sequence[float]
    outputs: Sequence[bytes | None]
    answer: bytes | None = None
    default: bool = False
    eligible: Sequence[str] | None = None


class TokenKey:
    """Makes and reads the query ids of one installation.

    Args:
        secret: 32 random bytes, the same in all frontends of the installation.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._seed = int.from_bytes(hashlib.blake2b(b"input digest", key=secret, digest_size=8).digest(), "big")
        self._keyed: dict[str, hashlib.blake2b] = {}

    def mint(self, application: str, claims: Claims) -> str:
        """The query id that carries ``claims``."""
        signed = _FORMAT + _encode(claims)
        mac = (self._keyed.get(application) or self._keyed_for(application)).copy()
        mac.update(signed)
        text = binascii.b2a_base64(signed + mac.digest(), newline=False)
        return text.rstrip(b"=").translate(_TO_URLSAFE).decode("ascii")

    def open(self, application: str, text: str) -> Claims:
        """The claims of an id that this installation made for a query of that application.

        Raises:
            UnknownQuery: It did not, or the id was altered.
        """
        signed, tag = _parts(text)
        mac = (self._keyed.get(application) or _keyed(self._secret, application)).copy()
        mac.update(signed)
        if not hmac.compare_digest(mac.digest(), tag) or signed[:1] != _FORMAT:
            raise _unknown(application)
        try:
            return _decode(memoryview(signed)[1:])
        except msgspec.DecodeError:
            raise _unknown(application) from None

    def input_digest(self, row: bytes) -> bytes:
        """16 bytes that stand for an input in this installation's log: equal for equal inputs."""
        return xxh3_128_digest(row, self._seed)

    def _keyed_for(self, application: str) -> hashlib.blake2b:
        """Keyed once for each application that is served: a copy costs less than the key."""
        return self._keyed.setdefault(application, _keyed(self._secret, application))


def _keyed(secret: bytes, application: str) -> hashlib.blake2b:
    mac = hashlib.blake2b(key=secret, digest_size=_TAG_BYTES, person=b"clipper query id")
    mac.update(application.encode() + b"\0")  # no name holds a NUL: it ends where the claims begin
    return mac


def _parts(text: str) -> tuple[bytes, bytes]:
    """What was signed, and the tag. Empty, which nothing is signed as, where the text is no id at all."""
    try:
        plain = text.encode("ascii") if len(text) <= _MAX_CHARS else b""
        padded = plain.translate(_FROM_URLSAFE) + b"=" * (-len(plain) % 4)
        data = binascii.a2b_base64(padded, strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        return b"", b""
    # The last character has bits that decoding ignores: one id has one spelling.
    spelled = binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URLSAFE)
    return (data[:-_TAG_BYTES], data[-_TAG_BYTES:]) if spelled == plain else (b"", b"")


def _unknown(application: str) -> UnknownQuery:
    return UnknownQuery(
        f"The query_id is not one that application '{application}' of this server gave out, or was altered on its way; "
        "send the input instead of it."
    )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Claims).decode

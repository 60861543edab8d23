"""The shared secret: each end proves that it knows it, without sending it.

The proof is HMAC-SHA256 over the role, both nonces and the replica's id. Without the role, an end could be shown its
own proof.
"""

import hmac
import secrets
from typing import Literal

MIN_SECRET_BYTES = 16

Role = Literal["dialer", "replica"]


def new_nonce() -> str:
    """128 random bits in hexadecimal, fresh for every connection."""
    return secrets.token_hex(16)


def proof(secret: bytes | None, role: Role, dialer_nonce: str, replica_nonce: str, replica_id: str) -> str:
    """What ``role`` shows in this connection; empty where there is no secret."""
    if secret is None:
        return ""
    text = f"clipper-container\n{role}\n{dialer_nonce}\n{replica_nonce}\n{replica_id}"
    return hmac.digest(secret, text.encode(), "sha256").hex()


def agrees(shown: str, expected: str) -> bool:
    """Whether the proofs are equal, in constant time."""
    return hmac.compare_digest(shown.encode(), expected.encode())

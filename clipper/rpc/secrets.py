"""The shared secrets of the container protocol: one file for the installation, and from it one for each replica.

So a replica knows nothing that would let it pass for a frontend at another replica.
"""

import hmac
import os
import secrets
from pathlib import Path

FILE_NAME = "replica-secret"
_ROOT_BYTES = 32


class ReplicaSecrets:
    """Derives the secret of each replica from the installation's ``root``."""

    def __init__(self, root: bytes) -> None:
        self._root = root

    def of(self, replica_id: str) -> bytes:
        """The replica's secret: 64 characters of hexadecimal."""
        return hmac.digest(self._root, f"replica\n{replica_id}".encode(), "sha256").hex().encode()


def load_secrets(data_dir: Path) -> ReplicaSecrets:
    """The installation's secrets, made when they are first asked for; the file is for its owner alone.

    Raises:
        OSError: The file can be neither read nor written.
        ValueError: It is not what was written there.
    """
    path = data_dir / FILE_NAME
    try:
        root = path.read_bytes()
    except FileNotFoundError:
        root = _create(path)
    if len(root) != _ROOT_BYTES:
        raise ValueError(f"{path} should have {_ROOT_BYTES} bytes and has {len(root)}: remove it, and start again.")
    return ReplicaSecrets(root)


def _create(path: Path) -> bytes:
    """Whole or not at all, and the first one wins: several processes may get here at once."""
    mine = path.with_name(f".{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(secrets.token_bytes(_ROOT_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(mine, path)
    except FileExistsError:
        pass
    finally:
        mine.unlink()
    return path.read_bytes()

"""Content-addressed artifacts on disk: received as a stream, checked, unpacked, collected when nobody refers to them.

Layout below the root: ``<digest>/artifact.tar``, ``<digest>/content/`` (unpacked); ``incoming-*`` is on its way.
"""

import asyncio
import errno
import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from clipper.errors import InvalidRequest, StoreUnavailable, TooLarge, UnknownArtifact
from clipper.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, parse_manifest

MAX_MEMBERS = 10_000
MAX_MEMBER_DEPTH = 64
"""Each directory is a call in the call of another one, for who makes or removes a tree."""
MAX_UNPACKED_FACTOR = 4
"""Unpacked files may be this many times the size allowed for the tar: sparse members can claim more than they hold."""
UNREFERENCED_FOR_S = 600.0

_TAR, _CONTENT, _INCOMING = "artifact.tar", "content", "incoming-"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WRITE_CHUNK_BYTES = 1 << 20
_DISK_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


@dataclass(frozen=True)
class Artifact:
    """What was received: the sha256 of the tar, its manifest as JSON, and the tar's size in bytes."""

    digest: str
    manifest: dict[str, Any]
    size: int


class ArtifactStore:
    """The artifacts below ``root``. Disk work runs in threads; nothing is ever held in memory as a whole.

    An artifact appears under its digest by one rename, after its bytes reached the disk: it is there entirely or not
    at all, whenever the process dies.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._root.mkdir(parents=True, exist_ok=True)
        for leftover in self._root.glob(f"{_INCOMING}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    async def put(self, stream: AsyncIterator[bytes], max_bytes: int) -> Artifact:
        """Keep the tar that ``stream`` yields. The same bytes twice are one artifact.

        Cancelling it, or an error of the stream, leaves nothing behind.

        Raises:
            TooLarge: The tar or its content is over the limit.
            InvalidRequest: It is no tar, has members that could reach outside, or its manifest is wrong.
        """
        incoming = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=_INCOMING, dir=self._root))
        try:
            digest, size = await _receive(stream, incoming / _TAR, max_bytes)
        except BaseException as error:
            await asyncio.to_thread(shutil.rmtree, incoming, ignore_errors=True)
            _raise_if_disk_fault(error)
            raise
        # A thread that is on its way finishes though nobody waits for it, so it tidies up by itself.
        return await asyncio.to_thread(self._keep, incoming, digest, size, max_bytes)

    def path(self, digest: str) -> Path:
        """The directory that holds the unpacked artifact.

        Raises:
            UnknownArtifact: There is none of this digest.
        """
        return self._find(digest) / _CONTENT

    def noop_path(self, input_type: str) -> Path:
        """The directory that a version of the flavor ``noop`` runs in: such a version needs no artifact of its own."""
        content = self._root / f"noop-{input_type}"
        content.mkdir(exist_ok=True)
        manifest = {"format": 1, "flavor": "noop", "input_type": input_type, "method": "predict"}
        (content / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")
        return content

    def tar_path(self, digest: str) -> Path:
        """The tar as it was received.

        Raises:
            UnknownArtifact: There is none of this digest.
        """
        return self._find(digest) / _TAR

    async def collect(self, referenced: Collection[str], unreferenced_for_s: float | None = None) -> list[str]:
        """Remove what is not ``referenced``, unless it came (again) so recently that its version may be on its way.

        Args:
            referenced: Digests to keep.
            unreferenced_for_s: What counts as recent; by default ``UNREFERENCED_FOR_S``.

        Returns:
            The digests that were removed.
        """
        recent_s = UNREFERENCED_FOR_S if unreferenced_for_s is None else unreferenced_for_s
        return await asyncio.to_thread(self._collect, frozenset(referenced), recent_s)

    def _find(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest) or not (self._root / digest).is_dir():
            raise UnknownArtifact(f"There is no artifact '{digest[:64]}'.")
        return self._root / digest

    def _keep(self, incoming: Path, digest: str, size: int, max_bytes: int) -> Artifact:
        try:
            unpack(incoming / _TAR, incoming / _CONTENT, max_bytes * MAX_UNPACKED_FACTOR)
            manifest = parse_manifest(_read_manifest(incoming / _CONTENT))
            self._publish(incoming, self._root / digest)
        except OSError as error:
            _raise_if_disk_fault(error)
            raise
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        return Artifact(digest, manifest.model_dump(mode="json", exclude_none=True), size)

    def _publish(self, incoming: Path, final: Path) -> None:
        try:
            incoming.rename(final)
        except OSError:
            if not final.is_dir():
                raise
            os.utime(final)
        _sync_path(self._root)

    def _collect(self, referenced: frozenset[str], unreferenced_for_s: float) -> list[str]:
        newest_s = time.time() - unreferenced_for_s
        found = [entry for entry in self._root.iterdir() if _DIGEST.fullmatch(entry.name)]
        gone = [e for e in found if e.name not in referenced and e.stat().st_mtime <= newest_s]
        for entry in gone:
            doomed = entry.rename(self._root / f"{_INCOMING}{entry.name}")
            shutil.rmtree(doomed, ignore_errors=True)
        return [entry.name for entry in gone]


def _raise_if_disk_fault(error: BaseException) -> None:
    """A full or failing disk is no fault of the user's: say so in our words."""
    if isinstance(error, OSError) and error.errno in _DISK_FAULTS:
        raise StoreUnavailable(f"The artifact cannot be kept: {error.strerror}.") from error


async def _receive(stream: AsyncIterator[bytes], target: Path, max_bytes: int) -> tuple[str, int]:
    """Write the stream to ``target`` while hashing it; returns (sha256, size)."""
    digest, size, pending = hashlib.sha256(), 0, bytearray()
    with target.open("xb") as file:
        async for chunk in stream:
            size += len(chunk)
            if size > max_bytes:
                raise TooLarge(f"The artifact is larger than the {max_bytes} bytes that this server takes.")
            pending += chunk
            if len(pending) >= _WRITE_CHUNK_BYTES:
                await asyncio.to_thread(_append, file, digest, bytes(pending))
                pending.clear()
        await asyncio.to_thread(_append, file, digest, bytes(pending))
        await asyncio.to_thread(_sync, file)
    return digest.hexdigest(), size


def _append(file: BinaryIO, digest: Any, data: bytes) -> None:
    digest.update(data)
    file.write(data)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_path(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def unpack(tar: Path, content: Path, max_bytes: int) -> None:
    """Unpack the tar of an artifact into the new directory ``content``.

    Raises:
        InvalidRequest: It is no tar, or has a member that is no plain file or would reach outside.
        TooLarge: It unpacks to more than ``max_bytes``, or has too many members.
    """
    content.mkdir()
    try:
        with tarfile.open(tar, "r:") as archive:
            _unpack_members(archive, content, max_bytes)
    except tarfile.TarError as error:
        raise InvalidRequest(f"The artifact must be an uncompressed tar: {error}.") from error
    except OSError as error:
        if error.errno in _DISK_FAULTS:
            raise
        reason = (error.strerror or str(error)).lower()
        raise InvalidRequest(f"The artifact has a member that cannot be unpacked: {reason}.") from error


def _unpack_members(archive: tarfile.TarFile, content: Path, max_bytes: int) -> None:
    unpacked = 0
    for count, member in enumerate(archive, 1):
        unpacked += member.size
        if count > MAX_MEMBERS:
            raise TooLarge(f"The artifact has more than the {MAX_MEMBERS} members that this server unpacks.")
        if unpacked > max_bytes:
            raise TooLarge(f"The artifact unpacks to more than the {max_bytes} bytes that this server takes.")
        if not (member.isreg() or member.isdir()):
            raise InvalidRequest(f"The artifact's member '{member.name}' is neither a file nor a directory.")
        if member.name.count("/") > MAX_MEMBER_DEPTH:
            raise InvalidRequest(f"The artifact has a member more than {MAX_MEMBER_DEPTH} directories deep.")
        _extract(archive, member, content)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, content: Path) -> None:
    """Without tarfile's filters, which Python has from 3.11.4 on only; Debian 12 has an older one."""
    target = content / member.name.lstrip("/")
    if not target.resolve().is_relative_to(content.resolve()):
        raise InvalidRequest(f"The artifact's member '{member.name}' would reach outside of it.")
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None  # noqa: S101  # it is a regular file
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
    _sync_path(target)


def _read_manifest(content: Path) -> bytes:
    path = content / MANIFEST_NAME
    if not path.is_file():
        raise InvalidRequest(f"The artifact has no {MANIFEST_NAME} at its top.")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise TooLarge(f"{MANIFEST_NAME} of the artifact is larger than {MAX_MANIFEST_BYTES} bytes.")
    return path.read_bytes()

"""The prediction cache: least recently used out, bounded in bytes, never a wrong answer."""

import math
import secrets
from collections import OrderedDict

import msgspec

from clipper.metrics import VersionMetrics

ENTRY_OVERHEAD_BYTES = 330
"""Bookkeeping of one entry besides row and output: two dict tables, list node, digest, headers. A test measures it."""


class CacheScope:
    """The part of the cache that belongs to one generation of one version.

    ``seed`` is random and goes into the digest: nobody outside can choose rows that collide, and two scopes never share
    an entry.
    """

    __slots__ = ("metrics", "seed")

    def __init__(self, metrics: VersionMetrics) -> None:
        self.metrics = metrics
        self.renew()

    def renew(self) -> None:
        """Find nothing any more of what was kept so far."""
        self.seed = secrets.randbits(64)


class _Entry(msgspec.Struct, gc=False, eq=False):
    scope: CacheScope
    row: bytes
    output: bytes
    expires_s: float

    def size_bytes(self) -> int:
        return len(self.row) + len(self.output) + ENTRY_OVERHEAD_BYTES


class PredictionCache:
    """Outputs by the digest of their row, shared by all versions of a frontend.

    A digest only finds an entry; the row decides whether it is the one. ``max_bytes`` counts rows, outputs and
    bookkeeping; 0 keeps nothing. Entries of a version that is gone leave as the oldest ones do; served again in the
    same generation, it finds what is left of them.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size_bytes = 0
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._scopes: dict[tuple[str, str, int], CacheScope] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def scope(self, model: str, version: str, generation: int, metrics: VersionMetrics) -> CacheScope:
        """The scope of that name; its evictions are counted in ``metrics`` from now on."""
        scope = self._scopes.setdefault((model, version, generation), CacheScope(metrics))
        scope.metrics = metrics
        return scope

    def get(self, scope: CacheScope, digest: bytes, row: bytes, now_s: float) -> bytes | None:
        """The output kept for this row, or None."""
        entry = self._entries.get(digest)
        if entry is None or entry.scope is not scope or entry.row != row:
            return None
        if entry.expires_s <= now_s:
            self._drop(digest)
            return None
        self._entries.move_to_end(digest)
        return entry.output

    def put(self, scope: CacheScope, digest: bytes, row: bytes, output: bytes, expires_s: float = math.inf) -> None:
        """Keep an output. It replaces what the digest stood for; what is larger than the whole cache is not kept."""
        size_bytes = len(row) + len(output) + ENTRY_OVERHEAD_BYTES
        if size_bytes > self.max_bytes:
            return
        if digest in self._entries:
            self._drop(digest)
        self._entries[digest] = _Entry(scope, row, output, expires_s)
        self.size_bytes += size_bytes
        while self.size_bytes > self.max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.size_bytes -= oldest.size_bytes()
            oldest.scope.metrics.cache_evicted += 1

    def _drop(self, digest: bytes) -> None:
        self.size_bytes -= self._entries.pop(digest).size_bytes()

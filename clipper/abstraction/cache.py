"""The prediction cache: bounded in bytes, what was not used for longest out first, never a wrong answer.

Two generations stand for the order of use. What is put or found goes into the young one; when that holds half of the
bytes it becomes the old one, and what the old one still held was not used for a whole generation and is dropped. A list
in exact order of use costs two more objects an entry and writes to memory on every hit: with entries that never come
again it took 2 us more of a query.

Nothing is done at once that grows with the cache. Entries are spread over `_SHARDS` dicts, because a dict that grows is
copied as a whole, and what is dropped is freed a few entries at a time, by the puts that follow.
"""

import math
import secrets

import msgspec
from xxhash import xxh3_128_digest

from clipper.metrics import VersionMetrics

ENTRY_OVERHEAD_BYTES = 115
"""Bookkeeping of one entry besides row and output: their headers, a place in a dict. A test measures it."""
KEPT_OVERHEAD_BYTES = 75
"""What an entry under a digest, or one that expires, takes besides that: the digest and a `_Kept`."""
LONGEST_KEY_BYTES = 512
"""Longer rows are found by a digest: a dict hashes its keys with SipHash, 1.3 us for 6 KB where xxh3 takes 0.2."""

_SHARDS = 16
_FREED_PER_BYTE = 2
"""More is freed than put, so that a generation is gone before the next one is full."""


class _Kept(msgspec.Struct, gc=False, eq=False):
    row: bytes
    output: bytes
    expires_s: float


_Shard = dict[bytes, bytes | _Kept]

ScopeName = tuple[str, str, int]
"""(model, version, generation)."""


def _size_bytes(key: bytes, kept: bytes | _Kept) -> int:
    if isinstance(kept, bytes):
        return len(key) + len(kept) + ENTRY_OVERHEAD_BYTES
    return len(kept.row) + len(kept.output) + ENTRY_OVERHEAD_BYTES + KEPT_OVERHEAD_BYTES


class CacheScope:
    """The part of the cache that belongs to one generation of one version.

    A short row is its own key: a dict compares keys whole, and its hash is keyed for each process. A longer one has a
    digest with a random seed, so that nobody outside can choose rows that collide; it only finds the entry, and the row
    decides whether it is the one.
    """

    __slots__ = ("in_use", "metrics", "name", "old", "seed", "young")

    def __init__(self, name: ScopeName, metrics: VersionMetrics) -> None:
        self.name = name
        self.metrics = metrics
        self.in_use = True
        self.seed = secrets.randbits(64)
        self.young = _new_shards()
        self.old = _new_shards()

    def __len__(self) -> int:
        return sum(map(len, self.young)) + sum(map(len, self.old))

    def key_of(self, row: bytes) -> bytes:
        """What this row is kept under."""
        return row if len(row) <= LONGEST_KEY_BYTES else xxh3_128_digest(row, self.seed)


class PredictionCache:
    """Outputs by their row, shared by all versions of a frontend.

    ``max_bytes`` counts rows, outputs and bookkeeping; 0 keeps nothing. Entries of a version that is gone leave as
    others do that nobody asks for; served again in the same generation, it finds what is left of them.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._scopes: dict[ScopeName, CacheScope] = {}
        self._retired: list[CacheScope] = []
        self._young_bytes = 0
        self._old_bytes = 0
        self._dropped: list[_Shard] = []
        self._dropped_bytes = 0

    def __len__(self) -> int:
        return sum(map(len, (*self._scopes.values(), *self._retired)))

    @property
    def size_bytes(self) -> int:
        """Of everything that is held, what is dropped and not yet freed included. Never over ``max_bytes``."""
        return self._young_bytes + self._old_bytes + self._dropped_bytes

    def scope(self, name: ScopeName, metrics: VersionMetrics) -> CacheScope:
        """The scope of that name; its evictions are counted in ``metrics`` from now on."""
        scope = self._scopes.setdefault(name, CacheScope(name, metrics))
        scope.metrics = metrics
        scope.in_use = True
        return scope

    def release(self, scope: CacheScope) -> None:
        """Nobody serves it any more; it is forgotten as soon as it is empty."""
        scope.in_use = False

    def renewed(self, scope: CacheScope) -> CacheScope:
        """An empty scope in the place of this one, whose entries nobody finds any more."""
        self._retired.append(scope)
        self._scopes[scope.name] = fresh = CacheScope(scope.name, scope.metrics)
        return fresh

    def get(self, scope: CacheScope, key: bytes, row: bytes, now_s: float) -> bytes | None:
        """The output kept for this row, or None."""
        shard = hash(key) % _SHARDS
        kept = scope.young[shard].get(key)
        if kept is None:
            kept = scope.old[shard].get(key)
            if kept is None:
                return None
            self._rejuvenate(scope, key, kept)
        if isinstance(kept, bytes):
            return kept
        return kept.output if kept.row == row and kept.expires_s > now_s else None

    def put(self, scope: CacheScope, key: bytes, row: bytes, output: bytes, expires_s: float = math.inf) -> None:
        """Keep an output. It replaces what the key stood for; what is larger than half of the cache is not kept."""
        plain = key is row and expires_s == math.inf
        kept = output if plain else _Kept(row, output, expires_s)
        size_bytes = len(row) + len(output) + ENTRY_OVERHEAD_BYTES
        if not plain:
            size_bytes += KEPT_OVERHEAD_BYTES
        if self._young_bytes + size_bytes > self.max_bytes // 2:
            if size_bytes > self.max_bytes // 2:
                return
            self._age()
        shard = scope.young[hash(key) % _SHARDS]
        before = shard.get(key)
        if before is not None:
            self._young_bytes -= _size_bytes(key, before)
        shard[key] = kept
        self._young_bytes += size_bytes
        if self._dropped:
            self._free(_FREED_PER_BYTE * size_bytes)

    def _rejuvenate(self, scope: CacheScope, key: bytes, kept: bytes | _Kept) -> None:
        shard = hash(key) % _SHARDS
        del scope.old[shard][key]
        size_bytes = _size_bytes(key, kept)
        self._old_bytes -= size_bytes
        if self._young_bytes + size_bytes > self.max_bytes // 2:
            self._age()
        scope.young[shard][key] = kept
        self._young_bytes += size_bytes

    def _age(self) -> None:
        """The young generation is full: it becomes the old one, whose entries nobody has asked for since it was."""
        for scope in (*self._scopes.values(), *self._retired):
            scope.metrics.cache_evicted += sum(map(len, scope.old))
            self._dropped += filter(None, scope.old)
            scope.old, scope.young = scope.young, _new_shards()
        self._scopes = {name: scope for name, scope in self._scopes.items() if scope.in_use or len(scope)}
        self._retired = [scope for scope in self._retired if len(scope)]
        self._dropped_bytes += self._old_bytes
        self._old_bytes, self._young_bytes = self._young_bytes, 0

    def _free(self, at_least_bytes: int) -> None:
        enough_bytes = self._dropped_bytes - at_least_bytes
        while self._dropped and self._dropped_bytes > enough_bytes:
            shard = self._dropped[-1]
            self._dropped_bytes -= _size_bytes(*shard.popitem())
            if not shard:
                self._dropped.pop()


def _new_shards() -> list[_Shard]:
    return [{} for _ in range(_SHARDS)]

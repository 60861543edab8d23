"""What feedback may need and is too large, or came too late, for a query id: kept for a while, bounded in bytes."""

from collections import OrderedDict
from typing import Final

import msgspec

ENTRY_OVERHEAD_BYTES: Final = 700
"""Bookkeeping of one query besides outputs and input: table, list node, nonce, entry, its dict. A test measures it."""

OUTPUT_OVERHEAD_BYTES: Final = 60
"""Of one output besides its text: the header of its bytes, its place in the entry's dict."""


ANSWER: Final = ""
"""In place of a model: what the application answered, where that is not one model's output."""


class _Kept(msgspec.Struct, eq=False):
    outputs: dict[str, bytes]
    row: bytes | None = None
    size_bytes: int = ENTRY_OVERHEAD_BYTES


class OutputMemory:
    """Outputs, and typed inputs, by the nonce of the query; the least recently written leave first.

    Losing an entry loses no feedback: it can still be given by input. What feedback has used is forgotten after it is
    committed, not before: a store that fails must find it again.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size_bytes = 0
        self.evicted = 0
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, nonce: bytes, model: str, output: bytes) -> None:
        """Keep the JSON that ``model`` (``model:version``) answered to the query."""
        kept = self._entry(nonce)
        before = kept.outputs.get(model)
        if before is not None:
            self._grow(kept, -len(before) - OUTPUT_OVERHEAD_BYTES)
        kept.outputs[model] = output
        self._grow(kept, len(output) + OUTPUT_OVERHEAD_BYTES)
        self._evict()

    def put_input(self, nonce: bytes, row: bytes) -> None:
        """Keep the typed input of the query, where the application's log has inputs in full."""
        kept = self._entry(nonce)
        self._grow(kept, len(row) - len(kept.row or b""))
        kept.row = row
        self._evict()

    def get(self, nonce: bytes) -> dict[str, bytes]:
        """The outputs that are kept, by ``model:version``."""
        kept = self._kept.get(nonce)
        return dict(kept.outputs) if kept is not None else {}

    def get_input(self, nonce: bytes) -> bytes | None:
        """The typed input, if it is kept."""
        kept = self._kept.get(nonce)
        return None if kept is None else kept.row

    def forget(self, nonce: bytes) -> None:
        """The feedback on this query is committed: there will be no other."""
        kept = self._kept.pop(nonce, None)
        if kept is not None:
            self.size_bytes -= kept.size_bytes

    def _entry(self, nonce: bytes) -> _Kept:
        kept = self._kept.get(nonce)
        if kept is None:
            kept = self._kept[nonce] = _Kept({})
            self.size_bytes += kept.size_bytes
        else:
            self._kept.move_to_end(nonce)
        return kept

    def _grow(self, kept: _Kept, added_bytes: int) -> None:
        kept.size_bytes += added_bytes
        self.size_bytes += added_bytes

    def _evict(self) -> None:
        while self.size_bytes > self.max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.size_bytes -= oldest.size_bytes
            self.evicted += 1

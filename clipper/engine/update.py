"""One piece of feedback as a frontend hands it in."""

from typing import Any

import msgspec


class Update(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the right answer was: to a query, by its ``query_id``, or for an input, by its ``row``; one of them is set.

    ``label`` is a JSON value; ``row`` an encoded input (`clipper.inputs`). ``uid`` and ``update_id`` (against repeats)
    go with a row only: a query id says by itself whose query it was.
    """

    label: Any
    query_id: str | None = None
    row: bytes | None = None
    uid: str | None = None
    update_id: str | None = None

"""What a caller gets for one query."""

from typing import Any, Final

import msgspec

from clipper.errors import ClipperError

STATUSES_WITH_DEFAULT: Final = frozenset({429, 500, 503, 504})
"""Of errors that the application's default answers instead, where it has one."""


class Answer(msgspec.Struct, gc=False):
    """An output, a default with its reason, or an error.

    ``output`` is a JSON fragment. With ``default`` it is the application's default and ``error`` the cause; without, an
    ``error`` is the whole answer. ``models`` is None under the policy ``single``; ``confidence`` and ``missing`` belong
    to ensembles; ``fallback`` is why the application's fallback chose the output instead of its policy; ``explanation``
    comes where the query asked for it.
    """

    query_id: str
    output: bytes | None = None
    default: bool = False
    error: ClipperError | None = None
    models: tuple[str, ...] | None = None
    confidence: float | None = None
    missing: tuple[str, ...] | None = None
    fallback: ClipperError | None = None
    explanation: dict[str, Any] | None = None

    @property
    def default_explanation(self) -> str | None:
        """``<machine_code>: <sentence>`` where the default answered."""
        return f"{self.error.code}: {self.error.message}" if self.default and self.error else None

"""Several outputs to one by an application's policy: its code is a user's, perhaps, and is not trusted to work."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from clipper.engine.distribution import Distribution
from clipper.errors import PolicyFailed
from clipper.selection import Policy
from clipper.selection.losses import Loss

_MAX_KNOWN: Final = 4096
_MAX_KNOWN_BYTES: Final = 256
"""Of all outputs of one query. Larger ones are scores, and never the same again."""

_decode = msgspec.json.decode
_encode = msgspec.json.encode


def combined(
    policy: Policy, loss: Loss, outputs: Mapping[str, bytes], distribution: Distribution
) -> tuple[bytes, float]:
    """The policy's one output, as JSON, and its confidence in it.

    Args:
        policy: Of the application.
        loss: Of the application.
        outputs: By arm, as JSON; those that arrived, at least one.
        distribution: Has the weights of all arms, those included that did not arrive.

    Raises:
        PolicyFailed: The policy raised, now or for the weights, or returned something else than an output and a number.
    """
    if distribution.fault is not None:
        raise distribution.fault.with_traceback(None)
    try:
        values = {arm: _decode(output) for arm, output in outputs.items()}
        value, confidence = policy.combine(values, dict(distribution.weights), loss)
        fragment = _encode(value)
        makes_sense = not isinstance(confidence, bool) and 0 <= confidence <= 1
    except Exception as error:  # noqa: BLE001  # the query must be answered all the same
        sentence = f"The policy '{policy.name}' raised in combine(): {type(error).__name__}: {error}"
        raise PolicyFailed(sentence) from None
    if not makes_sense:
        raise PolicyFailed(f"The policy '{policy.name}' returned a confidence of {confidence!r} instead of 0 to 1.")
    if not _is_finite(value):
        raise PolicyFailed(f"The policy '{policy.name}' combined the outputs to {value!r}, which is no JSON.")
    return fragment, float(confidence)


class Combiner:
    """`combined`, which is pure, remembered: class labels come in few combinations, and a policy takes its time.

    It remembers for one distribution, that is, until feedback changes the weights.
    """

    def __init__(self, policy: Policy, loss: Loss) -> None:
        self._policy = policy
        self._loss = loss
        self._distribution: Distribution | None = None
        self._arms: tuple[str, ...] = ()
        self._known: dict[tuple[bytes | None, ...], tuple[bytes, float]] = {}

    def combined(
        self, arms: tuple[str, ...], outputs: Sequence[bytes | None], distribution: Distribution
    ) -> tuple[bytes, float]:
        """See `combined`; ``outputs`` are in the order of ``arms``, None for one that is missing."""
        if distribution is not self._distribution or arms is not self._arms:
            self._distribution, self._arms, self._known = distribution, arms, {}
        key = tuple(outputs)
        known = self._known.get(key)
        if known is None:
            arrived = {arm: output for arm, output in zip(arms, outputs, strict=True) if output is not None}
            known = combined(self._policy, self._loss, arrived, distribution)
            if len(self._known) < _MAX_KNOWN and sum(map(len, arrived.values())) <= _MAX_KNOWN_BYTES:
                self._known[key] = known
        return known


def _is_finite(value: Any) -> bool:
    """Whether a combined output has neither NaN nor infinity, which would be written as null."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return all(map(_is_finite, value)) if isinstance(value, list | tuple) else True

"""Times as people type them: an age (``7d``, ``90m``) or a date."""

import re
import time
from datetime import UTC, datetime

from clipper.cli.outcome import BadUsage

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_time(text: str | None, what: str) -> float | None:
    """Seconds since 1970, of an age before now or a date (ISO 8601; UTC where it does not say); None of None.

    Raises:
        BadUsage: It is neither; the sentence names the option ``what``.
    """
    if text is None:
        return None
    age = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if age is not None:
        return time.time() - float(age[1]) * _UNITS_S[age[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadUsage(
            f"{what} is an age (7d, 12h, 30m, 45s, 2w) or a date (2025-01-31); '{text}' is neither."
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def shown_time(seconds: float) -> str:
    """The time in UTC, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")

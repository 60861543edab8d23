"""How long to wait before dialling again: exponential, bounded, with jitter. Pure."""

FIRST_DELAY_S = 0.02
MAX_DELAY_S = 0.25
_MAX_EXPONENT = 16


def redial_delay_s(attempt: int, uniform: float) -> float:
    """Seconds before dial number ``attempt`` (from 0) after a loss; ``uniform`` is random in [0, 1).

    The delay lies between half of the exponential step and the whole of it, so that the frontends of a replica that
    came back do not dial it all at once ("equal jitter", AWS Architecture Blog, 2015).
    """
    step_s = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt, _MAX_EXPONENT))
    return step_s * (0.5 + 0.5 * uniform)

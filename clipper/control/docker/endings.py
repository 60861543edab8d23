"""How a container ended, in a sentence. Pure."""

from clipper.control.docker.containers import Ending
from clipper.control.processes import exit_sentence

_SIGNAL_BASE = 128
_LAST_SIGNAL = 64


def reason_of(ending: Ending | None, last_words: str | None, *, engine_was_away: bool) -> str:
    """Why a replica is gone.

    Args:
        ending: What the engine says of its container; None where that is gone, too.
        last_words: The end of what it printed.
        engine_was_away: Whether the engine was not to be reached when it ended.
    """
    if ending is None:
        return "its container was removed by somebody else"
    sentence = _sentence(ending, last_words)
    return f"{sentence}, when the Docker engine was stopped or restarted" if engine_was_away else sentence


def _sentence(ending: Ending, last_words: str | None) -> str:
    code = ending.exit_code
    if ending.out_of_memory:
        return "killed by the kernel: it used more memory than its container may (limits.memory_mb)"
    if ending.error:
        return f"its container could not run: {ending.error.rstrip('.')}"
    if _SIGNAL_BASE < code <= _SIGNAL_BASE + _LAST_SIGNAL:
        return exit_sentence(_SIGNAL_BASE - code, last_words)
    return exit_sentence(code, last_words)

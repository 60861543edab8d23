"""Combinations of settings that a server refuses to start with."""

from clipper.settings import LOOPBACK_HOSTS, Settings


def check(settings: Settings) -> str | None:
    """The sentence that says what is wrong and what to do; None if nothing is."""
    if settings.admin_host not in LOOPBACK_HOSTS and settings.admin_token is None:
        return (
            f"The admin API deploys code, so it does not listen on {settings.admin_host} without a token: "
            "set CLIPPER_ADMIN_TOKEN, or use a loopback --admin-host."
        )
    if settings.admin_token is not None and not settings.admin_token.get_secret_value().strip():
        return "CLIPPER_ADMIN_TOKEN is empty: give it a value, or unset it."
    return None

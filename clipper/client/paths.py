"""Paths of the admin API."""

from urllib.parse import quote


def path(*parts: str | int) -> str:
    """``path("apps", "digits")`` is ``/admin/apps/digits``, whatever characters the names have."""
    return "/".join(["/admin", *(quote(str(part), safe="") for part in parts)])

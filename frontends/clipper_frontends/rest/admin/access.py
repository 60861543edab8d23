"""Who may speak to the admin API. Whoever may deploy runs code, so a web page, a stranger and a rebound name may not.

Pure rules over a request's method and headers; each raises the error that refuses it.
"""

import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from clipper.errors import Forbidden, Unauthenticated, UnsupportedMediaType
from clipper.settings import LOOPBACK_HOSTS

JSON = "application/json"
MULTIPART = "multipart/form-data"
_METHODS_WITH_A_BODY = frozenset({"POST", "PATCH"})
"""Every other one may come without a body and then without a content type; of these a browser's form can send POST."""
_NO_HOST = frozenset("@/?#\\")
_OWN_PAGES = frozenset({"same-origin", "none"})


@dataclass(frozen=True, slots=True)
class Access:
    """Names under which the API may be addressed besides loopback's, and the token that is asked for, if any."""

    hosts: frozenset[str]
    token: str | None

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Refuse a request that may not pass. ``headers`` have lower-case names.

        Raises:
            Forbidden: Addressed under a foreign name, sent by a web page of another origin, or with a wrong token.
            Unauthenticated: A token is asked for and none came.
            UnsupportedMediaType: The body is neither JSON nor multipart.
        """
        check_host(headers.get("host", ""), self.hosts)
        check_origin(headers)
        if self.token is not None:
            check_token(headers.get("authorization", ""), self.token)
        check_content_type(method, headers)


def check_host(host: str, known: Collection[str]) -> None:
    """A page that rebinds its own name to this address still sends its own name.

    Raises:
        Forbidden: The Host header is no name of this server.
    """
    name = _hostname(host)
    if name not in LOOPBACK_HOSTS and name not in known:
        raise Forbidden(
            f"The admin API is not addressed as '{host}'. Use its own address, or name it in admin_hosts "
            "(CLIPPER_ADMIN_HOSTS)."
        )


def check_origin(headers: Mapping[str, str]) -> None:
    """Only pages of this server itself (its /docs) may send requests from a browser.

    Raises:
        Forbidden: The request was sent by another page.
    """
    origin = headers.get("origin")
    if origin is not None and not _is_same_origin(origin, headers.get("host", "")):
        raise Forbidden(f"Pages of '{origin}' may not use the admin API.")
    if headers.get("sec-fetch-site", "none") not in _OWN_PAGES:
        raise Forbidden("Pages of another site may not use the admin API.")


def check_token(authorization: str, token: str) -> None:
    """The token, compared in constant time.

    Raises:
        Unauthenticated: There is no bearer token.
        Forbidden: It is another one.
    """
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise Unauthenticated("The admin API asks for its token: 'Authorization: Bearer ...' (CLIPPER_ADMIN_TOKEN).")
    if not hmac.compare_digest(given.strip().encode("latin-1", "replace"), token.encode()):
        raise Forbidden("The token is not the admin API's.")


def check_content_type(method: str, headers: Mapping[str, str]) -> None:
    """A browser's form cannot send JSON, and asks before it sends anything else.

    Raises:
        UnsupportedMediaType: The content type is neither JSON nor multipart, or there is a body of no type.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type in {JSON, MULTIPART}:
        return
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if not content_type and not has_body and method not in _METHODS_WITH_A_BODY:
        return
    came = f"'{content_type}' came" if content_type else "none came"
    raise UnsupportedMediaType(f"The content type must be {JSON}, or {MULTIPART} for a deployment; {came}.")


def _is_same_origin(origin: str, host: str) -> bool:
    """The scheme is left out: a proxy that ends TLS in front of this server does not change whose page it is."""
    scheme, separator, address = origin.lower().partition("://")
    return scheme in {"http", "https"} and bool(separator) and bool(address) and address == host.lower()


def _hostname(host: str) -> str:
    """The Host header without its port; an IPv6 address without its brackets. What else a URL may have is no host."""
    if not _NO_HOST.isdisjoint(host):
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""

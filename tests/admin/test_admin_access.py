"""Closed to browsers and strangers, on every route and every method."""

import socket

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper.errors import Forbidden, UnsupportedMediaType
from clipper_frontends.rest.admin.access import check_content_type, check_host, check_origin

ROUTES = [
    ("GET", "/admin/apps"),
    ("POST", "/admin/apps"),
    ("GET", "/admin/apps/a"),
    ("PATCH", "/admin/apps/a"),
    ("DELETE", "/admin/apps/a"),
    ("PUT", "/admin/apps/a/links/m"),
    ("DELETE", "/admin/apps/a/links/m"),
    ("GET", "/admin/apps/a/selection"),
    ("GET", "/admin/apps/a/feedback"),
    ("DELETE", "/admin/users/u"),
    ("GET", "/admin/models"),
    ("GET", "/admin/models/m"),
    ("PATCH", "/admin/models/m"),
    ("DELETE", "/admin/models/m"),
    ("PUT", "/admin/models/m/current"),
    ("GET", "/admin/models/m/versions"),
    ("POST", "/admin/models/m/versions"),
    ("GET", "/admin/models/m/versions/1"),
    ("PATCH", "/admin/models/m/versions/1"),
    ("DELETE", "/admin/models/m/versions/1"),
    ("GET", "/admin/artifacts/0"),
    ("GET", "/admin/replicas"),
    ("GET", "/admin/replicas/r/logs"),
    ("GET", "/admin/status"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/nothing"),
    ("HEAD", "/admin/status"),
    ("OPTIONS", "/admin/apps"),
    ("POST", "/admin/status"),
]
JSON = {"Content-Type": "application/json"}
every_route = pytest.mark.parametrize(("method", "path"), ROUTES)


def test_the_routes_of_this_test_are_those_of_the_api(admin):
    paths = admin.get("/openapi.json").json()["paths"]
    documented = {
        (method.upper(), path.format(app="a", model="m", version="1", digest="0", replica_id="r", uid="u"))
        for path, operations in paths.items()
        for method in operations
    }
    assert documented <= set(ROUTES)


def code_of(response: httpx.Response) -> str:
    return response.json()["code"]


@every_route
def test_without_a_token_is_unauthenticated(guarded, method, path):
    response = guarded.request(method, path, headers=JSON, content=b"" if method == "GET" else b"{}")
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert method == "HEAD" or code_of(response) == "unauthenticated"


@every_route
@pytest.mark.parametrize("token", ["wrong-token", "right-toke", "right-token2"])
def test_with_a_wrong_token_is_forbidden(guarded, method, path, token):
    response = guarded.request(method, path, headers={**JSON, "Authorization": f"Bearer {token}"}, content=b"{}")
    assert response.status_code == 403
    assert method == "HEAD" or code_of(response) == "forbidden"


@every_route
def test_with_the_right_token_passes_the_door(guarded, method, path):
    response = guarded.request(method, path, headers={**JSON, "Authorization": "Bearer right-token"}, content=b"{}")
    assert response.status_code not in {401, 403, 415} or path.endswith("/versions")


@pytest.mark.parametrize("credentials", ["right-token", "Basic right-token", "Bearer", ""])
def test_what_is_no_bearer_token_is_unauthenticated(guarded, credentials):
    assert guarded.get("/admin/apps", headers={"Authorization": credentials}).status_code == 401


def test_the_scheme_of_a_token_may_be_written_in_any_case(guarded):
    assert guarded.get("/admin/apps", headers={"Authorization": "bearer right-token"}).status_code == 200


@every_route
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:1338", "127.0.0.1.evil.example", "evil.example@127.0.0.1", ""]
)
def test_a_foreign_host_name_is_forbidden(admin, method, path, host):
    response = admin.request(method, path, headers={**JSON, "Host": host}, content=b"{}")
    assert response.status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9", "localhost", "LOCALHOST:1338", "[::1]", "[::1]:1338"])
def test_loopback_names_are_known_hosts(admin, host):
    assert admin.get("/admin/apps", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("Origin", "http://evil.example", "http://localhost"),
        ("Content-Type", "application/json", "multipart/form-data; boundary=x"),
        ("Authorization", "Bearer wrong-token", "Bearer right-token"),
    ],
)
def test_what_decides_who_passes_comes_once(admin, name, first, second):
    response = admin.get("/admin/apps", headers=[(name, first), (name, second)])
    assert response.status_code == 400
    assert f"'{name.lower()}' came more than once" in response.json()["error"]


@pytest.mark.parametrize("hosts", [b"Host: localhost\r\nHost: evil.example", b"Host: evil.example\r\nHost: localhost"])
def test_there_is_one_host_header(admin, hosts):
    with socket.create_connection((admin.base_url.host, admin.base_url.port), timeout=10) as stranger:
        stranger.sendall(b"GET /admin/apps HTTP/1.1\r\n" + hosts + b"\r\n\r\n")
        assert stranger.recv(100).startswith(b"HTTP/1.1 400 ")


@every_route
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9", "http://localhost", ""])
def test_a_foreign_origin_is_forbidden(admin, method, path, origin):
    response = admin.request(method, path, headers={**JSON, "Origin": origin}, content=b"{}")
    assert response.status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_on_another_site_is_forbidden(admin, site):
    assert admin.get("/admin/apps", headers={"Sec-Fetch-Site": site}).status_code == 403


def test_the_servers_own_pages_may_use_it(admin):
    own = {"Origin": str(admin.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert admin.get("/admin/apps", headers=own).status_code == 200


@every_route
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonp", None]
)
def test_a_body_of_another_content_type_is_refused(admin, method, path, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = admin.request(method, path, headers=headers, content=b"{}")
    assert response.status_code == 415
    assert method == "HEAD" or code_of(response) == "unsupported_media_type"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_foreign_content_type_is_refused_without_a_body_too(admin, content_type):
    for method in ("GET", "PUT", "DELETE"):
        response = admin.request(method, "/admin/apps/a/links/m", headers={"Content-Type": content_type})
        assert response.status_code == 415


def test_a_post_without_a_content_type_is_refused_even_without_a_body(admin):
    assert admin.post("/admin/apps").status_code == 415


def test_what_is_refused_at_the_door_is_not_read(admin):
    """The answer comes although the body never does."""
    with socket.create_connection((admin.base_url.host, admin.base_url.port), timeout=10) as stranger:
        stranger.sendall(b"POST /admin/apps HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        assert stranger.recv(100).startswith(b"HTTP/1.1 415 ")


def refused(check, *arguments) -> bool:
    try:
        check(*arguments)
    except (Forbidden, UnsupportedMediaType):
        return True
    return False


def test_names_from_the_settings_are_known_hosts():
    known = {"clipper.internal"}
    assert not refused(check_host, "clipper.internal:1338", known)
    assert not refused(check_host, "Clipper.Internal", known)
    assert refused(check_host, "clipper.internal.evil.example", known)


@given(st.text())
def test_no_host_header_breaks_the_rule(host):
    if refused(check_host, host, set()):
        return
    assert any(name in host.lower() for name in ("127.0.0.1", "localhost", "::1"))


@given(st.text(), st.text())
def test_no_origin_breaks_the_rule(origin, host):
    if not refused(check_origin, {"origin": origin, "host": host}):
        assert host.lower() in origin.lower()


@given(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]), st.text())
def test_only_json_and_multipart_pass(method, content_type):
    if not refused(check_content_type, method, {"content-type": content_type, "content-length": "2"}):
        assert content_type.partition(";")[0].strip().lower() in {"application/json", "multipart/form-data"}

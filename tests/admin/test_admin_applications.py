import pytest


def application(name: str, **fields) -> dict:
    return {"name": name, "input_type": "doubles", "slo_ms": 20, **fields}


def error_of(response) -> tuple[int, str]:
    body = response.json()
    assert body["error"].strip()
    assert "Traceback" not in body["error"]
    return response.status_code, body["code"]


def test_an_application_comes_back_as_it_was_given(admin):
    given = application("as-given", default_output=-1, policy={"name": "single"})
    created = admin.post("/admin/apps", json=given)
    assert created.status_code == 201
    assert given.items() <= {**created.json(), "policy": {"name": "single"}}.items()
    assert admin.get("/admin/apps/as-given").json() == created.json()
    assert created.json() in admin.get("/admin/apps").json()


def test_no_default_is_not_a_default_of_null(admin):
    without = admin.post("/admin/apps", json=application("no-default")).json()
    null = admin.post("/admin/apps", json=application("null-default", default_output=None)).json()
    assert "default_output" not in without
    assert null["default_output"] is None


def test_creating_what_exists_is_a_conflict(admin):
    admin.post("/admin/apps", json=application("twice"))
    assert error_of(admin.post("/admin/apps", json=application("twice"))) == (409, "already_exists")


def test_a_patch_changes_only_what_it_names(admin):
    before = admin.post("/admin/apps", json=application("patched", default_output=1)).json()
    after = admin.patch("/admin/apps/patched", json={"slo_ms": 50})
    assert after.json() == {**before, "slo_ms": 50}


def test_a_deleted_application_is_unknown(admin):
    admin.post("/admin/apps", json=application("gone"))
    assert admin.delete("/admin/apps/gone").json() == {"deleted": "gone"}
    for method, path in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/selection"),
        ("PUT", "/links/m"),
        ("DELETE", "/links/m"),
    ]:
        assert error_of(admin.request(method, f"/admin/apps/gone{path}")) == (404, "unknown_application")
    assert error_of(admin.patch("/admin/apps/gone", json={"slo_ms": 1})) == (404, "unknown_application")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "No"}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"name": "-a"}, "name"),
        ({"name": None}, "name"),
        ({"input_type": "numbers"}, "input_type"),
        ({"slo_ms": 0}, "slo_ms"),
        ({"slo_ms": -1}, "slo_ms"),
        ({"slo_ms": 1e12}, "slo_ms"),
        ({"slo_ms": "soon"}, "slo_ms"),
        ({"models": ["a"] * 2}, "models"),
        ({"models": "svm"}, "models"),
        ({"models": [f"m{i}" for i in range(200)]}, "models"),
        ({"min_confidence": 2}, "min_confidence"),
        ({"loss": "hinge"}, "loss"),
        ({"policy": {"name": "single", "optoins": {}}}, "optoins"),
        ({"slo": 20}, "slo"),
    ],
)
def test_a_field_that_is_wrong_is_named(admin, fields, named):
    response = admin.post("/admin/apps", json=application("wrong") | fields)
    assert error_of(response) == (400, "invalid_request")
    assert f"{named}'" in response.json()["error"]


@pytest.mark.parametrize("missing", ["name", "input_type", "slo_ms"])
def test_a_field_that_is_missing_is_named(admin, missing):
    body = application("missing")
    del body[missing]
    response = admin.post("/admin/apps", json=body)
    assert error_of(response) == (400, "invalid_request")
    assert f"'{missing}'" in response.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"name": "nan", "input_type": "doubles", "slo_ms": 20, "default_output": NaN}',
        b'{"name": "nan", "input_type": "doubles", "slo_ms": Infinity}',
        b'{"name": "surrogate", "input_type": "doubles", "slo_ms": 20, "default_output": "\\ud800"}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"name": "\xff"}',
    ],
)
def test_what_is_not_json_is_invalid_json(admin, body):
    response = admin.post("/admin/apps", content=body, headers={"Content-Type": "application/json"})
    assert error_of(response) == (400, "invalid_json")


@pytest.mark.parametrize("body", [b"[]", b"3", b"null", b'"a"', b""])
def test_a_body_that_is_no_object_is_refused(admin, body):
    for method, path in [("POST", "/admin/apps"), ("PATCH", "/admin/apps/a"), ("PUT", "/admin/models/m/current")]:
        response = admin.request(method, path, content=body, headers={"Content-Type": "application/json"})
        assert error_of(response) == (400, "invalid_request")


def test_a_body_over_the_limit_is_too_large(admin):
    response = admin.post("/admin/apps", json=application("large", default_output="x" * 200_000))
    assert error_of(response) == (413, "too_large")


def test_a_chunked_body_over_the_limit_is_too_large(admin):
    chunks = (b" " * 10_000 for _ in range(20))
    response = admin.post("/admin/apps", content=chunks, headers={"Content-Type": "application/json"})
    assert error_of(response) == (413, "too_large")


def test_a_multipart_body_where_json_belongs_is_refused(admin):
    response = admin.post("/admin/apps", files={"spec": (None, "{}")})
    assert error_of(response) == (415, "unsupported_media_type")


def test_only_a_deployment_may_be_larger_than_a_body(admin):
    """Called multipart, a body went past the limit and was read into memory as a whole."""
    chunks = (b" " * 10_000 for _ in range(20))
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    assert error_of(admin.post("/admin/apps", content=chunks, headers=multipart)) == (415, "unsupported_media_type")


@pytest.mark.parametrize("field", [{"slo_ms": True}, {"slo_ms": "20"}, {"min_confidence": False}])
def test_what_is_no_number_is_not_taken_for_one(admin, field):
    response = admin.post("/admin/apps", json=application("converted") | field)
    assert error_of(response) == (400, "invalid_request")
    assert f"'{next(iter(field))}' of the request must be a number" in response.json()["error"]


def test_an_unknown_field_is_answered_with_those_that_there_are(admin):
    response = admin.post("/admin/apps", json=application("slow", slo=20))
    assert error_of(response) == (400, "invalid_request")
    assert "its fields are name, input_type, slo_ms, " in response.json()["error"]


@pytest.mark.parametrize("body", [b"[]", b"3", b""])
def test_the_sentence_asks_for_an_object(admin, body):
    response = admin.post("/admin/apps", content=body, headers={"Content-Type": "application/json"})
    assert "JSON object" in response.json()["error"]
    assert response.json()["error"].startswith("The request ")


def test_links_need_a_model(admin):
    admin.post("/admin/apps", json=application("linking"))
    assert error_of(admin.put("/admin/apps/linking/links/nobody")) == (404, "unknown_model")
    assert error_of(admin.post("/admin/apps", json=application("l2", models=["nobody"]))) == (404, "unknown_model")
    assert error_of(admin.delete("/admin/apps/linking/links/nobody")) == (404, "unknown_model")


def test_a_second_model_under_single_is_refused(admin, deploy):
    deploy("one-a")
    deploy("one-b")
    admin.post("/admin/apps", json=application("single-app", models=["one-a"]))
    assert error_of(admin.put("/admin/apps/single-app/links/one-b")) == (409, "policy_takes_one_model")
    assert admin.put("/admin/apps/single-app/links/one-a").json()["models"] == ["one-a"]
    assert admin.delete("/admin/apps/single-app/links/one-a").json()["models"] == []
    assert admin.put("/admin/apps/single-app/links/one-b").json()["models"] == ["one-b"]


def test_input_types_must_match(admin, deploy):
    deploy("texts", input_type="strings")
    admin.post("/admin/apps", json=application("numbers"))
    assert error_of(admin.put("/admin/apps/numbers/links/texts")) == (400, "input_type_mismatch")


def test_under_single_the_one_model_has_all_the_weight(admin, deploy):
    deploy("weighed")
    admin.post("/admin/apps", json=application("weighing", models=["weighed"]))
    selection = admin.get("/admin/apps/weighing/selection", params={"uid": "u"}).json()
    assert (selection["application"], selection["policy"], selection["uid"]) == ("weighing", "single", "u")
    (choice,) = selection["models"]
    assert (choice["model"], choice["weight"], choice["probability"]) == ("weighed", 1.0, 1.0)


def test_unknown_paths_and_methods_have_our_shape(admin):
    assert error_of(admin.get("/admin/nothing")) == (404, "not_found")
    assert error_of(admin.get("/")) == (404, "not_found")
    assert error_of(admin.get("/admin/status/")) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/admin/apps", "GET, POST"), ("/admin/apps/a", "DELETE, GET, PATCH"), ("/admin/models/m/current", "PUT")],
)
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_a_wrong_method_is_answered_with_all_that_there_are(admin, method, path, allowed):
    response = admin.request(method, path)
    assert error_of(response) == (405, "method_not_allowed")
    assert response.headers["allow"] == allowed
    assert allowed in response.json()["error"]


def test_who_queries_the_admin_port_is_told(admin):
    response = admin.post("/digits/predict", json={"input": [1]})
    assert error_of(response) == (404, "not_found")
    assert "Queries go to the query port" in response.json()["error"]


def test_the_documentation_says_what_can_be_patched(admin):
    paths = admin.get("/openapi.json").json()["paths"]
    bodies = [operations["patch"]["requestBody"] for operations in paths.values() if "patch" in operations]
    schemas = [body["content"]["application/json"]["schema"] for body in bodies]
    assert [schema["additionalProperties"] for schema in schemas] == [False, False, False]
    assert {"slo_ms", "keep_warm", "replicas", "wanted"} <= {
        name for schema in schemas for name in schema["properties"]
    }


def test_the_documentation_is_served(admin):
    page = admin.get("/docs").text
    assert "POST /admin/apps" in page
    assert "://" not in page.replace(str(admin.base_url), "")  # nothing is fetched from elsewhere
    schemas = admin.get("/openapi.json").json()["components"]["schemas"]
    assert {"Application", "VersionInfo", "ModelInfo", "Status", "ErrorBody"} <= schemas.keys()

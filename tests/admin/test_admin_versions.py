import hashlib
import io
import json
import tarfile

import pytest

MANIFEST = {"format": 1, "flavor": "python", "input_type": "doubles", "entry": "model.py:predict"}
SOURCE = b"def predict(batch):\n    return [float(row.sum()) for row in batch]\n"
MAX_ARTIFACT_BYTES = 200_000  # as in conftest.py
SPEC = {"version": "1", "flavor": "python", "input_type": "doubles"}


def error_of(response) -> tuple[int, str]:
    body = response.json()
    assert body["error"].strip()
    assert "Traceback" not in body["error"]
    return response.status_code, body["code"]


def tar_of(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def artifact(**manifest) -> bytes:
    return tar_of({"manifest.json": json.dumps(MANIFEST | manifest).encode(), "model.py": SOURCE})


def post(admin, model: str, spec=SPEC, tar: bytes | None = None):
    files = {"spec": (None, json.dumps(spec))}
    if tar is not None:
        files["artifact"] = ("artifact.tar", tar)
    return admin.post(f"/admin/models/{model}/versions", files=files)


def test_a_version_is_created_with_its_artifact_and_becomes_ready(admin, until):
    tar = artifact()
    created = post(admin, "summing", SPEC | {"replicas": 2}, tar)
    assert created.status_code == 201
    info = created.json()
    assert (info["model"], info["version"], info["target"]) == ("summing", "1", True)
    assert info["state"] in {"registered", "starting", "warming", "ready"}
    assert info["digest"] == hashlib.sha256(tar).hexdigest()
    ready = until("/admin/models/summing/versions/1", lambda v: v["current"] and v["serving"])
    assert ready["replicas"]["wanted"] == 2
    replicas = [r for r in admin.get("/admin/replicas").json() if r["model"] == "summing"]
    assert len(replicas) == 2
    logs = until(f"/admin/replicas/{replicas[0]['replica_id']}/logs?lines=5", lambda answer: answer["logs"])
    assert logs["replica_id"] == replicas[0]["replica_id"]
    assert logs["logs"].count("\n") <= 5


def test_an_artifact_can_be_fetched_as_it_was_sent(admin):
    tar = artifact(example_input=[1.0])
    digest = post(admin, "fetched", SPEC, tar).json()["digest"]
    fetched = admin.get(f"/admin/artifacts/{digest}")
    assert fetched.content == tar
    for unknown in ("0" * 64, "..", "nonsense"):
        assert admin.get(f"/admin/artifacts/{unknown}").status_code == 404


def test_the_artifact_may_come_before_the_spec(admin):
    parts = [("artifact", ("a.tar", artifact())), ("spec", (None, json.dumps(SPEC)))]
    assert admin.post("/admin/models/reversed/versions", files=parts).status_code == 201


def test_creating_a_version_that_exists_is_a_conflict(admin, deploy):
    assert deploy("repeated").status_code == 201
    assert error_of(deploy("repeated")) == (409, "already_exists")


def test_a_flavor_other_than_noop_needs_an_artifact(admin):
    assert error_of(post(admin, "empty")) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"version": "A"}, "version"),
        ({"version": None}, "version"),
        ({"input_type": "numbers"}, "input_type"),
        ({"replicas": -1}, "replicas"),
        ({"replicas": 100_000}, "replicas"),
        ({"batching": "eager"}, "batching"),
        ({"batching": {"policy": "fixed"}}, "batching"),
        ({"limits": {"threads": 0}}, "threads"),
        ({"caching": {"ttl_s": -1}}, "ttl_s"),
        ({"method": "fit"}, "method"),
        ({"replica": 1}, "replica"),
    ],
)
def test_a_field_of_the_spec_that_is_wrong_is_named(admin, spec, named):
    response = post(admin, "wrong-spec", SPEC | spec)
    assert error_of(response) == (400, "invalid_request")
    assert named in response.json()["error"]


def test_a_spec_that_is_not_json_is_invalid_json(admin):
    response = admin.post("/admin/models/m/versions", files={"spec": (None, "{")})
    assert error_of(response) == (400, "invalid_json")


@pytest.mark.parametrize("model", ["Svm", "a_b", "a" * 64, "-"])
def test_a_bad_model_name_is_refused(admin, model):
    assert error_of(post(admin, model, SPEC, artifact())) == (400, "invalid_request")


@pytest.mark.parametrize(
    "tar",
    [
        b"no tar",
        tar_of({"model.py": SOURCE}),
        tar_of({"manifest.json": b"{", "model.py": SOURCE}),
        tar_of({"manifest.json": b'{"format": 2}', "model.py": SOURCE}),
        tar_of({"../../escape": b"", "manifest.json": json.dumps(MANIFEST).encode()}),
        tar_of({"manifest.json": b"[" * 50_000}),
        tar_of({"manifest.json": b'{"format": 1, "flavor": "\xff"}'}),
        tar_of({"manifest.json": json.dumps(MANIFEST | {"example_input": "\ud800"}).encode()}),
        tar_of({"manifest.json": json.dumps(MANIFEST | {"example_input": [float("nan")]}).encode()}),
        tar_of({"manifest.json": json.dumps(MANIFEST).encode(), "/".join("a" * 2000): b""}),
    ],
)
def test_an_artifact_that_is_wrong_is_refused(admin, tar):
    assert error_of(post(admin, "wrong-artifact", SPEC, tar)) == (400, "invalid_request")
    assert admin.get("/admin/models/wrong-artifact").status_code == 404


def test_an_artifact_of_another_input_type_is_a_mismatch(admin):
    assert error_of(post(admin, "mismatch", SPEC, artifact(input_type="strings"))) == (400, "input_type_mismatch")


def test_an_artifact_of_exactly_the_limit_is_taken(admin):
    """The limit is the artifact's, not that of the body around it."""
    exact = artifact()
    exact += b"\0" * (MAX_ARTIFACT_BYTES - len(exact))
    assert post(admin, "exact", SPEC, exact).status_code == 201
    assert error_of(post(admin, "larger", SPEC, exact + b"\0")) == (413, "too_large")


def test_a_version_that_never_came_to_anything_is_replaced(admin, until):
    failing = tar_of({"manifest.json": json.dumps(MANIFEST).encode(), "model.py": b"raise RuntimeError\n"})
    assert post(admin, "mended", SPEC, failing).status_code == 201
    first = until("/admin/models/mended/versions/1", lambda info: info["state"] == "failed")
    assert post(admin, "mended", SPEC, artifact()).status_code == 201
    second = until("/admin/models/mended/versions/1", lambda info: info["current"] and info["state"] == "ready")
    assert second["generation"] > first["generation"]
    assert error_of(post(admin, "mended", SPEC, artifact())) == (409, "already_exists")


def test_an_artifact_over_the_limit_is_too_large(admin):
    assert error_of(post(admin, "large", SPEC, b"x" * 300_000)) == (413, "too_large")


def test_a_chunked_artifact_over_the_limit_is_too_large(admin):
    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="artifact"\r\n\r\n'
        for _ in range(300):
            yield b"x" * 1000

    response = admin.post(
        "/admin/models/large/versions", content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert error_of(response) == (413, "too_large")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=", b""),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"nonsense"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="spec"\r\n\r\n{}'),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n{}\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n{}\r\n--x--\r\n'),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 500, b""),
    ],
)
def test_a_malformed_multipart_body_is_refused(admin, content_type, body):
    response = admin.post("/admin/models/m/versions", content=body, headers={"Content-Type": content_type})
    assert error_of(response) == (400, "invalid_request")


def test_a_deployment_as_json_is_of_the_wrong_content_type(admin):
    assert error_of(admin.post("/admin/models/m/versions", json=SPEC)) == (415, "unsupported_media_type")


def test_a_model_lists_its_versions_in_order_and_who_links_it(admin, deploy):
    for version in ("10", "9", "b"):
        deploy("ordered", version, replicas=0)
    admin.post("/admin/apps", json={"name": "linker", "input_type": "doubles", "slo_ms": 9, "models": ["ordered"]})
    model = admin.get("/admin/models/ordered").json()
    assert [v["version"] for v in model["versions"]] == ["10", "9", "b"]
    assert model["target"] == "b"
    assert model["applications"] == ["linker"]
    assert admin.get("/admin/models/ordered/versions").json() == model["versions"]
    assert model in admin.get("/admin/models").json()


def test_not_promoted_is_not_the_target(admin, deploy, until):
    deploy("careful", "1", wait=True)
    until("/admin/models/careful", lambda m: m["current"] == "1")
    deploy("careful", "2", promote=False, wait=True)
    model = admin.get("/admin/models/careful").json()
    assert (model["target"], model["current"]) == ("1", "1")


def test_promoting_moves_the_traffic_when_the_version_is_ready_and_back(admin, deploy, until):
    deploy("moving", "1", wait=True)
    deploy("moving", "2", wait=True)
    until("/admin/models/moving", lambda m: m["current"] == "2")
    for version in (1, "2"):
        assert admin.put("/admin/models/moving/current", json={"version": version}).status_code == 200
        until("/admin/models/moving", lambda m, version=version: m["current"] == str(version))
    assert error_of(admin.put("/admin/models/moving/current", json={"version": "3"})) == (404, "unknown_version")
    assert error_of(admin.put("/admin/models/nobody/current", json={"version": "1"})) == (404, "unknown_model")
    assert error_of(admin.put("/admin/models/moving/current", json={})) == (400, "invalid_request")


def test_a_version_is_changed_in_place(admin, deploy, until):
    deploy("changing", wait=True)
    changed = admin.patch("/admin/models/changing/versions/1", json={"replicas": 2, "batching": "fixed:8"}).json()
    assert changed["batching"]["size"] == 8
    until("/admin/models/changing/versions/1", lambda v: v["replicas"]["ready"] == 2)
    for wrong in ({"flavor": "python"}, {"replicas": 100_000}, {"wanted": True}, {"replicas": "many"}):
        response = admin.patch("/admin/models/changing/versions/1", json=wrong)
        assert error_of(response) == (400, "invalid_request")


def test_a_stopped_version_stays_known_and_can_be_promoted_again(admin, deploy, until):
    deploy("resting", wait=True)
    assert admin.patch("/admin/models/resting/versions/1", json={"wanted": False}).json()["wanted"] is False
    until("/admin/models/resting/versions/1", lambda v: v["state"] == "stopped")
    admin.put("/admin/models/resting/current", json={"version": "1"})
    until("/admin/models/resting/versions/1", lambda v: v["state"] == "ready" and v["current"])


def test_what_is_in_use_is_not_removed(admin, deploy):
    deploy("needed")
    admin.post("/admin/apps", json={"name": "needs", "input_type": "doubles", "slo_ms": 9, "models": ["needed"]})
    assert error_of(admin.delete("/admin/models/needed")) == (409, "still_in_use")
    assert error_of(admin.delete("/admin/models/needed/versions/1")) == (409, "still_in_use")
    admin.delete("/admin/apps/needs")
    assert admin.delete("/admin/models/needed/versions/1").json() == {"deleted": "needed:1"}
    assert error_of(admin.get("/admin/models/needed")) == (404, "unknown_model")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
def test_unknown_models_and_versions_are_named(admin, deploy, method):
    deploy("known")
    body = {"json": {"replicas": 1}} if method == "PATCH" else {}
    assert error_of(admin.request(method, "/admin/models/nobody/versions/1", **body)) == (404, "unknown_model")
    response = admin.request(method, "/admin/models/known/versions/7", **body)
    assert error_of(response) == (404, "unknown_version")
    assert "'7'" in response.json()["error"]


def test_logs_of_an_unknown_replica(admin):
    assert error_of(admin.get("/admin/replicas/nobody/logs")) == (404, "unknown_replica")
    assert error_of(admin.get("/admin/replicas/..%2f..%2fetc/logs"))[0] == 404
    assert error_of(admin.get("/admin/replicas/r/logs", params={"lines": 0})) == (400, "invalid_request")


def test_a_version_that_fails_to_load_says_why(admin, until):
    broken = tar_of({"manifest.json": json.dumps(MANIFEST).encode(), "model.py": b"raise RuntimeError('no weights')"})
    post(admin, "broken", SPEC, broken)
    info = until("/admin/models/broken/versions/1", lambda v: v["state"] == "failed")
    assert "no weights" in f"{info['reason']} {info['last_words']}"
    admin.delete("/admin/models/broken")


def test_the_status_shows_it_all(admin, deploy, until):
    deploy("shown", wait=True)
    admin.post("/admin/apps", json={"name": "shows", "input_type": "doubles", "slo_ms": 500, "models": ["shown"]})
    until("/admin/models/shown/versions/1", lambda v: v["serving"] and v["current"])
    query = admin.get("/admin/status").json()["query"]
    answer = admin.post(f"{query}/shows/predict", json={"input": [1.0]}).json()
    assert answer["default"] is False
    status = until("/admin/status", lambda s: _measured(s, "shows").get("total"))
    assert _measured(status, "shows")["total"] == {"answered": 1}
    version = next(m for m in status["models"] if m["name"] == "shown")["versions"][0]
    assert version["measured"]["batches"] == 1
    assert status["grpc"].startswith("127.0.0.1:")
    assert status["version"]
    assert any(replica["model"] == "shown" and replica["state"] == "ready" for replica in status["replicas"])


def _measured(status: dict, name: str) -> dict:
    return next(app["measured"] for app in status["applications"] if app["name"] == name)

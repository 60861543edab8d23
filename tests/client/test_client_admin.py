import pytest

import clipper


def test_what_is_registered_is_listed(cl):
    info = cl.register_application("listed", input_type="doubles", slo_ms=20, default_output=-1)
    assert info["default_output"] == -1
    assert "listed" in cl.get_all_apps()
    assert info in cl.get_all_apps(verbose=True)
    assert cl.get_app_info("listed") == info
    assert cl.update_application("listed", slo_ms=30)["slo_ms"] == 30
    cl.unregister_application("listed")
    assert "listed" not in cl.get_all_apps()


def test_models_are_linked_and_unlinked(cl):
    cl.deploy_model("linked", 1, None, flavor="noop", input_type="doubles")
    cl.register_application("linking", input_type="doubles", slo_ms=20)
    cl.link_model_to_app("linking", "linked")
    assert cl.get_linked_models("linking") == ["linked"]
    assert cl.get_selection("linking", uid="u")["models"][0]["probability"] == 1
    cl.unlink_model_from_app("linking", "linked")
    assert cl.get_linked_models("linking") == []


def test_unknown_names_are_not_found(cl):
    for call in (
        lambda: cl.get_app_info("nobody"),
        lambda: cl.get_linked_models("nobody"),
        lambda: cl.unregister_application("nobody"),
        lambda: cl.link_model_to_app("nobody", "nobody"),
        lambda: cl.get_selection("nobody"),
        lambda: cl.get_model_info("nobody"),
        lambda: cl.get_model_info("nobody", 1),
        lambda: cl.get_current_model_version("nobody"),
        lambda: cl.set_model_version("nobody", 1),
        lambda: cl.set_num_replicas("nobody", 1),
        lambda: cl.stop_models(["nobody"]),
        lambda: cl.stop_versioned_models({"nobody": [1]}),
        lambda: cl.stop_inactive_model_versions(["nobody"]),
        lambda: cl.delete_model("nobody"),
        lambda: cl.get_logs("nobody"),
        lambda: cl.get_app_info("../models"),
    ):
        with pytest.raises(clipper.NotFound):
            call()


def test_versions_are_deployed_promoted_scaled_and_stopped(cl):
    for version in (1, 2, "rc-1"):
        info = cl.deploy_model("rolling", version, None, flavor="noop", input_type="doubles", promote=version != "rc-1")
        assert (info["version"], info["state"]) == (str(version), "ready")
    assert cl.get_current_model_version("rolling") == "2"
    cl.set_model_version("rolling", 1)
    cl.wait_for_version("rolling", 1)
    assert cl.get_current_model_version("rolling") == "1"
    cl.set_num_replicas("rolling", 2)
    assert cl.get_model_info("rolling", 1)["replicas"]["wanted"] == 2
    cl.set_num_replicas("rolling", 1, version="rc-1")
    cl.stop_inactive_model_versions("rolling")
    wanted = {v["version"]: v["wanted"] for v in cl.get_model_info("rolling")["versions"]}
    assert wanted == {"1": True, "2": False, "rc-1": False}
    assert any(r["model"] == "rolling" for r in cl.get_all_model_replicas())
    assert "==> rolling.1" in cl.get_logs("rolling:1")
    cl.stop_versioned_models({"rolling": [1]})
    assert not any(v["wanted"] for v in cl.get_model_info("rolling")["versions"])
    cl.delete_model("rolling", "rc-1")
    cl.delete_model("rolling")
    assert "rolling" not in cl.get_all_models()


def test_logs_of_one_replica_are_its_own(cl):
    cl.deploy_model("logging", 1, None, flavor="noop", input_type="doubles")
    replica = next(r for r in cl.get_all_model_replicas() if r["model"] == "logging")
    assert "==>" not in cl.get_logs(replica["replica_id"], lines=3)


def test_the_status_has_everything(cl):
    status = cl.get_status()
    assert status["query"].startswith("http://127.0.0.1:")
    assert {"ready", "applications", "models", "replicas", "revision"} <= status.keys()


@pytest.mark.parametrize("name", ["Bad", "a_b", "", "a" * 64])
def test_bad_names_are_refused(cl, name):
    with pytest.raises(clipper.ClipperError):
        cl.register_application(name, input_type="doubles", slo_ms=20)


def test_creating_what_exists_is_a_conflict(cl):
    cl.register_application("existing", input_type="doubles", slo_ms=20)
    with pytest.raises(clipper.AlreadyExists) as refusal:
        cl.register_application("existing", input_type="doubles", slo_ms=20)
    assert isinstance(refusal.value, clipper.Conflict)


def test_a_lone_model_is_taken_for_one_name(cl):
    cl.deploy_model("lone", 1, None, flavor="noop", input_type="doubles")
    assert cl.register_application("loner", input_type="doubles", slo_ms=20, models="lone")["models"] == ["lone"]

"""What ``import clipper`` offers. A change here is a change for every user: it belongs in the changelog."""

import inspect
import subprocess
import sys

import pytest

import clipper

EXPORTS = {
    "__version__", "AlreadyExists", "AsyncConnection", "BadRequest", "ClipperError", "Conflict", "connect",
    "connect_async", "Connection", "DeadlineExceeded", "DeploymentFailed", "DeployProgress", "DuplicateFeedback",
    "Forbidden", "InvalidInput", "InvalidLabel", "InvalidModel", "local", "local_async", "ModelError", "NO_DEFAULT",
    "NoModelReady", "NotFound", "Overloaded", "Prediction", "Rejected", "StoreUnavailable", "Unauthenticated",
    "Unavailable", "UnknownApplication", "UnknownModel", "UnknownQuery", "UnknownReplica", "UnknownVersion",
    "Unreachable", "UpdateResult",
}  # fmt: skip

METHODS = {
    "close": "",
    "delete_model": "name version",
    "deploy_model": "name version model input_type num_replicas batching example_input promote canary wait method "
    "flavor requirements caching limits inputs outputs timeout_s on_progress",
    "erase_user": "uid",
    "get_all_apps": "verbose",
    "get_all_model_replicas": "",
    "get_all_models": "verbose",
    "get_app_info": "name",
    "get_current_model_version": "name",
    "get_feedback": "app since until after",
    "get_linked_models": "name",
    "get_logs": "replica lines",
    "get_model_info": "name version",
    "get_selection": "name uid",
    "get_status": "",
    "link_model_to_app": "app_name model_name",
    "predict": "app x uid timeout_ms version explain",
    "predict_batch": "app xs uid timeout_ms version explain",
    "predict_stream": "app xs uid timeout_ms version explain",
    "read_feedback": "app since until",
    "register_application": "name input_type slo_ms default_output policy models min_confidence loss loss_range "
    "log_inputs inputs outputs",
    "register_model": "name version address input_type num_replicas inputs outputs secret batching caching limits "
    "promote canary wait timeout_s on_progress",
    "send_package": "name version packaged promote on_progress settings",
    "roll_back": "name",
    "set_model_version": "name version canary",
    "set_num_replicas": "name num_replicas version",
    "stop_inactive_model_versions": "names",
    "stop_models": "names",
    "stop_versioned_models": "versions",
    "test_predict_function": "function xs input_type inputs",
    "unlink_model_from_app": "app_name model_name",
    "unregister_application": "name",
    "update": "app label query_id input uid update_id",
    "update_application": "name changes",
    "update_many": "app updates",
    "update_model": "name changes",
    "update_model_version": "name version changes",
    "wait_for_version": "name version promote timeout_s on_progress",
}


def test_the_exports_are_these():
    assert set(clipper.__all__) == EXPORTS
    for name in EXPORTS:
        assert getattr(clipper, name) is not None
    assert set(dir(clipper)) == EXPORTS


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        clipper.nonsense  # noqa: B018 (the access is what is tested)


@pytest.mark.parametrize("connection", [clipper.Connection, clipper.AsyncConnection])
def test_the_methods_of_a_connection_are_these(connection):
    public = {name: f for name, f in inspect.getmembers(connection, callable) if not name.startswith("_")}
    public.pop("carry_out")
    assert {name: " ".join(list(inspect.signature(f).parameters)[1:]) for name, f in public.items()} == METHODS


def test_every_exported_error_is_a_clipper_error_with_a_code():
    errors = [
        e for e in (getattr(clipper, name) for name in EXPORTS) if inspect.isclass(e) and issubclass(e, Exception)
    ]
    assert all(issubclass(error, clipper.ClipperError) for error in errors)
    codes = [error.code for error in errors if error is not clipper.ClipperError]
    assert len(codes) == len(set(codes))


def test_importing_clipper_imports_nothing_heavy():
    heavy = "{'httpx', 'pydantic', 'numpy', 'fastapi', 'uvicorn', 'rich', 'typer', 'cloudpickle', 'google.protobuf'}"
    code = f"import sys, clipper; print(*({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"

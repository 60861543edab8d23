"""Deploying a version: package, send, wait until it serves."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipper.client.operations.models import get_model_info
from clipper.client.paths import path
from clipper.client.steps import Pause, Request, Session, Steps, Upload, Work
from clipper.domain import Batching, Caching, InputType, Limits
from clipper.errors import DeploymentFailed
from clipper.tensors import TensorLike
from clipper.tensors import plain as plain_tensors

if TYPE_CHECKING:
    from clipper.packaging.package import Package

FIRST_POLL_S, LAST_POLL_S, POLL_GROWTH = 0.02, 0.5, 1.3


@dataclass(frozen=True, slots=True)
class DeployProgress:
    """How far a deployment is: ``packaging``, ``uploading`` (with bytes), then the version's state on the server."""

    stage: str
    sent_bytes: int = 0
    total_bytes: int = 0
    detail: str | None = None


Watcher = Callable[[DeployProgress], None]


def deploy_model(  # noqa: D417 (the connection passes itself)
    session: Session,
    name: str,
    version: str | int,
    model: Any,
    *,
    input_type: InputType | None = None,
    num_replicas: int | str | Mapping[str, int] = 1,
    batching: str | Mapping[str, Any] | Batching = "deadline",
    example_input: Any = None,
    promote: bool = True,
    canary: str | Mapping[str, Any] | None = None,
    wait: bool = True,
    method: str | None = None,
    flavor: str | None = None,
    requirements: Sequence[str] | str | PathLike[str] | None = None,
    caching: Mapping[str, Any] | Caching | None = None,
    limits: Mapping[str, Any] | Limits | None = None,
    inputs: Sequence[TensorLike] = (),
    outputs: Sequence[TensorLike] = (),
    timeout_s: float = 600.0,
    on_progress: Watcher | None = None,
) -> Steps[dict[str, Any]]:
    """Deploy a version of a model, and wait until it serves.

    Args:
        name: The model's name; a new one creates the model.
        version: The version's name, a string or an int.
        model: A fitted estimator, a module of PyTorch's, a Keras model, a function of a batch that returns one output
            for each row, the path of a saved model, or the ``docker://`` name of an image that ``clipper build``
            made. A numeric batch is a 2-D numpy array; strings, bytes and JSON values are a list.
        input_type: ``doubles`` (the default of estimators), ``floats``, ``integers``, ``strings``, ``bytes``, ``json``,
            ``tensors``; by default what a program of a framework was saved with.
        num_replicas: How many replicas to run; in a range (``"1-8"``, ``{"min": 1, "max": 8}``) it scales by itself.
        batching: ``deadline``, ``none``, ``fixed:32``, ``aimd``, ``quantile``, or a dict of `clipper.domain.Batching`.
        example_input: One input; each replica warms up with it before it takes traffic. A module of PyTorch's is
            exported with it: it has the shape that the module takes, without the batch.
        promote: Give it the model's traffic as soon as it is ready.
        canary: Try it on a part of the traffic first: ``"5%"``, or a dict of `clipper.deployment.Canary`. It gets all
            of it once it has proved itself, and none if it is worse than the current version.
        wait: Return when it is ready (and has the traffic), not when the server has taken it.
        method: ``predict`` or ``predict_proba``, of an estimator.
        flavor: How to load and call the model, where that is not to be recognised; ``noop`` needs no model (None).
        requirements: What pip shall install for the model: lines, or the path of a file. By default a
            requirements.txt beside a saved model; ``[]`` for none.
        caching: ``{"enabled": False}`` for a model that draws at random, ``{"ttl_s": 60}`` for one that changes.
        limits: ``{"threads": 2, "memory_mb": 2048}`` of each replica.
        inputs: The tensors of one query, of the input type ``tensors``: ``"image FP32[28, 28]"``, or a dict with
            ``name``, ``datatype`` and ``shape``; -1 is a size that a query decides. The function gets a dict of arrays
            by name, the batch first; of a single tensor without a name the array itself. By default what a program of
            a framework says.
        outputs: The same of one answer, if somebody wants to know beforehand; several are returned as a dict.
        timeout_s: How long to wait.
        on_progress: Called while it goes on, in no particular thread.

    Returns:
        The version as the server has it.

    Raises:
        InvalidModel: It cannot be packaged.
        AlreadyExists: The model has a version of that name.
        InputTypeMismatch: The model's other versions, or an application that links it, take other inputs.
        DeploymentFailed: While waiting: it failed to start (the sentence has the reason and its last words), was
            stopped, or took longer than ``timeout_s``. The version stays, for its logs, until it is deleted.
    """
    watch = on_progress or _nobody
    watch(DeployProgress("packaging"))
    with tempfile.TemporaryDirectory(prefix="clipper-") as directory:
        options = {
            "input_type": input_type,
            "flavor": flavor,
            "method": method,
            "example_input": example_input,
            "requirements": requirements,
            "inputs": inputs,
            "outputs": outputs,
        }
        packaged: Package = yield Work(lambda: _package(model, Path(directory), options))
        settings = {
            "replicas": num_replicas,
            "batching": batching,
            "caching": caching,
            "limits": limits,
            "canary": canary,
        }
        info = yield from send_package(
            session, name, version, packaged, promote=promote, on_progress=on_progress, **settings
        )
    if wait:
        info = yield from wait_for_version(
            session, name, version, promote=promote, timeout_s=timeout_s, on_progress=on_progress
        )
    return info


def _package(model: Any, directory: Path, options: Mapping[str, Any]) -> "Package":
    from clipper.packaging.package import package  # noqa: PLC0415 (cloudpickle and more: only for those who deploy)

    return package(model, directory, **options)


def send_package(
    _session: Session,
    /,
    name: str,
    version: str | int,
    packaged: "Package",
    *,
    promote: bool = True,
    on_progress: Watcher | None = None,
    **settings: Any,
) -> Steps[dict[str, Any]]:
    """Deploy what `clipper.packaging.package` made, without waiting for it.

    Args:
        name: The model's name.
        version: The version's name.
        packaged: The package; it must stay where it is until this returns.
        promote: Give it the model's traffic as soon as it is ready.
        on_progress: Told how many bytes have been sent.
        settings: ``replicas``, ``batching``, ``caching``, ``limits``, ``canary``; None is the server's default.

    Raises:
        AlreadyExists: The model has a version of that name.
    """
    watch = on_progress or _nobody
    total = packaged.tar.stat().st_size if packaged.tar else 0
    spec = {
        "version": str(version),
        "flavor": packaged.flavor,
        "input_type": packaged.input_type,
        "method": packaged.method,
        "promote": promote,
    }
    spec |= {
        field: plain_tensors(tensors)
        for field, tensors in (("inputs", packaged.inputs), ("outputs", packaged.outputs))
        if tensors
    }
    spec |= {field: plain(value) for field, value in settings.items() if value is not None}
    upload = Upload(spec, packaged.tar, lambda sent: watch(DeployProgress("uploading", sent, total)))
    reply = yield Request("POST", path("models", name, "versions"), upload=upload)
    info: dict[str, Any] = reply.json()
    return info


def plain(value: Any) -> Any:
    """A setting as JSON has it."""
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def wait_for_version(  # noqa: D417 (the connection passes itself)
    session: Session,
    name: str,
    version: str | int,
    *,
    promote: bool = True,
    timeout_s: float = 600.0,
    on_progress: Watcher | None = None,
) -> Steps[dict[str, Any]]:
    """Wait until a version is ready, and has the traffic if it is to have it.

    Args:
        name: The model's name.
        version: The version's name.
        promote: Wait for the traffic too, while the version is the one that shall have it.
        timeout_s: How long to wait.
        on_progress: Told the version's state each time it is asked for.

    Raises:
        DeploymentFailed: It failed, was stopped, or took longer.
    """
    watch = on_progress or _nobody
    deadline_s = time.monotonic() + timeout_s
    pause_s = FIRST_POLL_S
    while True:
        info = yield from get_model_info(session, name, version)
        watch(DeployProgress(info["state"], detail=info["reason"]))
        _raise_if_over(name, info)
        if _is_settled(info, promote):
            return info
        remaining_s = deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise DeploymentFailed(
                f"Version '{version}' of model '{name}' is still {info['state']} after {timeout_s:g} s"
                f"{_because(info)}. It goes on starting; 'clipper status' shows how far it is."
            )
        yield Pause(min(pause_s, remaining_s))
        pause_s = min(pause_s * POLL_GROWTH, LAST_POLL_S)


def _is_settled(info: Mapping[str, Any], promote: bool) -> bool:
    """Nothing more is to come: it serves, with the traffic if it is to have it, or is not to serve at all."""
    if info["replicas"]["wanted"] == 0:
        return True
    if info["state"] == "stopped" and not (info["target"] or info["on_trial"]):  # another version took its traffic
        return True
    has_its_traffic = info["current"] or not (promote and info["target"])
    return bool(info["state"] == "ready" and info["serving"] and has_its_traffic)


def _raise_if_over(name: str, info: Mapping[str, Any]) -> None:
    version, state = info["version"], info["state"]
    if state == "failed":
        words = (info.get("last_words") or "").strip()
        said = f"\nIts last words:\n{words}" if words else ""
        raise DeploymentFailed(f"Version '{version}' of model '{name}' failed to start{_because(info)}.{said}")
    over = not info["wanted"] or (info["canary"] is not None and not (info["on_trial"] or info["target"]))
    if state in {"draining", "stopped"} and over:
        why = _because(info)
        raise DeploymentFailed(f"Version '{version}' of model '{name}' was stopped before it was ready{why}.")


def _because(info: Mapping[str, Any]) -> str:
    reason = (info.get("reason") or "").rstrip(". ")
    return f": {reason}" if reason else ""


def _nobody(_progress: DeployProgress) -> None:
    return None

"""``clipper apply``: what a file says, compared with what the server has, and the difference carried out.

::

    models:
      - name: svm
        current: 2                      # without it, what is newly deployed gets the traffic
        versions:
          - {version: 1, path: svm-1.pkl}
          - {version: 2, path: svm-2.pkl, replicas: {min: 1, max: 4}, batching: "fixed:32", canary: 5%}
      - name: far
        versions:
          - {version: 1, address: "tcp:gpu-1:9000", secret_file: secret, input_type: doubles}
    applications:
      - {name: digits, input_type: doubles, slo_ms: 20, default_output: -1, models: [svm]}
    links:
      - {application: other, model: svm}

The order in the file does not matter. What the file does not name stays as it is; a second run changes nothing.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import ValidationError, model_validator

from clipper.client.operations.external import SERVERS
from clipper.deployment import Canary, Replicas
from clipper.domain import Application, Batching, Caching, InputType, KeptWarm, Limits
from clipper.errors import Conflict, InvalidModel, InvalidRequest, NotFound, UnknownApplication
from clipper.frozen import Frozen, Name, VersionName
from clipper.packaging import Package, package
from clipper.packaging.images import SCHEME
from clipper.tensors import Tensors
from clipper.validation import invalid_request

if TYPE_CHECKING:
    from clipper.client import Connection

CHANGEABLE = ("replicas", "batching", "caching", "limits")
"""What can be changed of a version that exists."""


class FileVersion(Frozen):
    """A version and where its model is, relative to the file. The other fields are those of ``clipper deploy``.

    ``address`` and ``secret_file`` are those of ``clipper register``, for what runs already. ``canary`` counts when the
    version is deployed; whether it has proved itself is then for the server to say.
    """

    version: VersionName
    path: Path | None = None
    address: str | None = None
    secret_file: Path | None = None
    flavor: Name | None = None
    input_type: InputType | None = None
    inputs: Tensors = ()
    outputs: Tensors = ()
    method: Literal["predict", "predict_proba"] | None = None
    example_input: Any = None
    requirements: Path | tuple[str, ...] | None = None
    replicas: Replicas = 1
    canary: Canary | None = None
    batching: Batching = Batching()
    caching: Caching = Caching()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _has_a_model(self) -> "FileVersion":
        if self.path is not None and self.address is not None:
            raise ValueError("has the 'path' of a saved model or the 'address' of one that runs, not both")
        if self.path is None and self.address is None and self.flavor != "noop":
            raise ValueError("needs the 'path' of a saved model; only 'flavor: noop' does without")
        if self.secret_file is not None and not self.is_container:
            raise ValueError("has a 'secret_file', which is for a container that runs at an 'address'")
        return self

    @property
    def is_container(self) -> bool:
        """Whether it is a container that somebody else runs."""
        return self.address is not None and not self.address.startswith((*SERVERS, SCHEME))


class FileModel(Frozen):
    """A model, its versions, and the one that shall have the traffic."""

    name: Name
    current: VersionName | None = None
    keep_warm: KeptWarm | None = None
    versions: tuple[FileVersion, ...] = ()


class FileLink(Frozen):
    """A model that answers for an application."""

    application: Name
    model: Name


class Plan(Frozen):
    """What a file says. Paths are absolute."""

    models: tuple[FileModel, ...] = ()
    applications: tuple[Application, ...] = ()
    links: tuple[FileLink, ...] = ()


def load(file: Path) -> Plan:
    """What the file says.

    Raises:
        InvalidRequest: It cannot be read or is not as it should be; the sentence names the line and the field.
    """
    try:
        text = file.read_text()
        tree = yaml.compose(text, yaml.SafeLoader)
        value = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"'{file}' cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        raise InvalidRequest(f"'{file}' is not YAML: {_one_line(error)}.") from None
    try:
        plan = Plan.model_validate({} if value is None else value)
    except ValidationError as error:
        line = _line_of(tree, error.errors()[0]["loc"])
        raise InvalidRequest(f"{file}:{line}: {invalid_request(error, 'the file').message}") from None
    return _with_absolute_paths(plan, file.absolute().parent)


def carry_out(cl: "Connection", plan: Plan, *, wait: bool) -> Iterator[str]:
    """Bring the server to the plan; yields what was done, one line each.

    Raises:
        ClipperError: The server refused something; what was yielded before is done.
    """
    deployed: list[tuple[str, str]] = []
    for model in plan.models:
        yield from _apply_model(cl, model, deployed)
    for application in plan.applications:
        yield _apply_application(cl, application)
    for link in plan.links:
        yield _apply_link(cl, link)
    for name, version in deployed if wait else ():
        info = cl.wait_for_version(name, version)
        yield f"version {name}:{version} {info['state']}"


def _apply_model(cl: "Connection", model: FileModel, deployed: list[tuple[str, str]]) -> Iterator[str]:
    existing = _versions_on_server(cl, model.name)
    for version in model.versions:
        with tempfile.TemporaryDirectory(prefix="clipper-") as directory:
            packaged = None if version.is_container else _packaged(version, Path(directory))
            there = existing.get(version.version)
            if there is not None and (there["state"] != "failed" or _is_same(version, packaged, there)):
                yield _change_version(cl, model.name, version, there, packaged)
                continue
            promote = model.current in {None, version.version} or version.canary is not None
            sent = _changeable(version) | {"canary": version.canary}
            if packaged is None:
                _register(cl, model.name, version, promote=promote, settings=sent)
            else:
                cl.send_package(model.name, version.version, packaged, promote=promote, **sent)
        deployed.append((model.name, version.version))
        yield f"version {model.name}:{version.version} deployed"
    yield from _settle_model(cl, model)


def _register(
    cl: "Connection", model: str, version: FileVersion, *, promote: bool, settings: Mapping[str, Any]
) -> None:
    try:
        secret = None if version.secret_file is None else version.secret_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"'{version.secret_file}' cannot be read: {error}.") from None
    cl.register_model(
        model,
        version.version,
        str(version.address),
        input_type=version.input_type or "doubles",
        inputs=version.inputs,
        outputs=version.outputs,
        num_replicas=settings["replicas"],
        secret=secret,
        promote=promote,
        wait=False,
        **{field: value for field, value in settings.items() if field != "replicas"},
    )


def _settle_model(cl: "Connection", model: FileModel) -> Iterator[str]:
    if model.current is None and model.keep_warm is None:
        return
    info = cl.get_model_info(model.name)
    if model.keep_warm not in {None, info["keep_warm"]}:
        cl.update_model(model.name, keep_warm=model.keep_warm)
        yield f"model {model.name} changed: keep_warm"
    proves_itself = {version.version for version in model.versions if version.canary is not None}
    if model.current not in {None, info["target"], *proves_itself}:
        cl.set_model_version(model.name, str(model.current))
        yield f"model {model.name} promoted to {model.current}"


def _change_version(
    cl: "Connection", model: str, version: FileVersion, there: Mapping[str, Any], packaged: Package | None
) -> str:
    name = f"{model}:{version.version}"
    if not _is_same(version, packaged, there):
        raise Conflict(
            f"The version {name} exists with another content than '{version.path or version.address}'. Give the new "
            "content a new version."
        )
    on_server = {**there, "replicas": there["replicas"]["bounds"] or there["replicas"]["wanted"]}
    given = {field: value for field, value in _changeable(version).items() if field in version.model_fields_set}
    changes = {field: value for field, value in given.items() if value != on_server[field]}
    if not changes:
        return f"version {name} unchanged{_not_serving(model, there)}"
    cl.update_model_version(model, version.version, **changes)
    return f"version {name} changed: {', '.join(changes)}"


def _not_serving(model: str, there: Mapping[str, Any]) -> str:
    if not there["wanted"]:
        return f" (it is stopped; to start it: clipper promote {model} {there['version']})"
    return f" (it failed: {there['reason']})" if there["state"] == "failed" else ""


def _is_same(version: FileVersion, packaged: Package | None, there: Mapping[str, Any]) -> bool:
    if packaged is None:
        return bool(version.address == there["address"])
    return (packaged.digest(), packaged.flavor) == (there["digest"], there["flavor"])


def _apply_application(cl: "Connection", application: Application) -> str:
    wanted = application.to_json()
    given = {field: value for field, value in wanted.items() if field in application.model_fields_set}
    name = given.pop("name")
    try:
        there = cl.get_app_info(name)
    except UnknownApplication:
        cl.register_application(name, **given)
        return f"application {name} created"
    changes = {field: value for field, value in given.items() if field not in there or value != there[field]}
    if not changes:
        return f"application {name} unchanged"
    cl.update_application(name, **changes)
    return f"application {name} changed: {', '.join(changes)}"


def _apply_link(cl: "Connection", link: FileLink) -> str:
    name = f"link {link.application} -> {link.model}"
    if link.model in cl.get_linked_models(link.application):
        return f"{name} unchanged"
    cl.link_model_to_app(link.application, link.model)
    return f"{name} created"


def _versions_on_server(cl: "Connection", model: str) -> dict[str, dict[str, Any]]:
    try:
        info = cl.get_model_info(model)
    except NotFound:
        return {}
    return {version["version"]: version for version in info["versions"]}


def _packaged(version: FileVersion, directory: Path) -> Package:
    try:
        return package(
            version.address or version.path,
            directory,
            input_type=version.input_type or ("doubles" if version.address else None),
            inputs=version.inputs,
            outputs=version.outputs,
            flavor=version.flavor,
            method=version.method,
            example_input=version.example_input,
            requirements=version.requirements,
        )
    except InvalidModel as error:
        raise InvalidModel(f"Version '{version.version}': {error.message}") from error


def _changeable(version: FileVersion) -> dict[str, Any]:
    return version.model_dump(mode="json", include=set(CHANGEABLE))


def _with_absolute_paths(plan: Plan, directory: Path) -> Plan:
    def absolute(version: FileVersion) -> FileVersion:
        named = {"path": version.path, "requirements": version.requirements, "secret_file": version.secret_file}
        paths = {field: directory / path for field, path in named.items() if isinstance(path, Path)}
        return version.model_copy(update=paths)

    models = tuple(model.model_copy(update={"versions": tuple(map(absolute, model.versions))}) for model in plan.models)
    return plan.model_copy(update={"models": models})


def _line_of(node: yaml.Node | None, path: Iterable[int | str]) -> int:
    """The line of the innermost part of the file that ``path`` leads to, counted from one."""
    line = 1
    for step in path:
        if node is None:
            break
        line = node.start_mark.line + 1
        node = _child(node, step)
    return line if node is None else node.start_mark.line + 1


def _child(node: yaml.Node, step: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child: yaml.Node = node.value[step]
        return child
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    return None


def _one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())

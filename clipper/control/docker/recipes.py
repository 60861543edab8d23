"""What the images are made of: a framework layer, the runtime above it, a model's own requirements above that.

A recipe's name ends in a digest of everything that goes into it, so that an image that is there is the right one, and
a model change neither reinstalls a framework nor rebuilds a runtime.
"""

import hashlib
import platform
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

import clipper_container
from clipper.control.docker.tars import add_directory, add_file
from clipper.control.requirements import WHEELS
from clipper_container.version import __version__

_PACKAGED = Path(__file__).parent / "images"
_CHECKOUT = Path(__file__).parents[3] / "containers" / "images"
_DIGEST_CHARS = 12
_FRAMEWORKS: Mapping[str, str] = {
    "sklearn": "scikit-learn",
    "torch": "torch",
    "tensorflow": "tensorflow-cpu",
    "onnx": "onnxruntime",
    "mlflow": "mlflow-skinny",
}
_INSTALLED_AS: Mapping[str, str] = {"tensorflow": "tensorflow-cpu", "mlflow": "mlflow-skinny"}
"""The name under which a package of the manifest is installed into the image."""


@dataclass(frozen=True)
class Recipe:
    """One image: its name, its Dockerfile, what the Dockerfile is told, and the files (or directories) it copies."""

    title: str
    dockerfile: Path
    arguments: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    wheels: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """Of everything that goes in, but of the wheels only their names."""
        hashed = hashlib.sha256(self.dockerfile.read_bytes())
        for name, value in sorted(self.arguments.items()):
            hashed.update(f"\n{name}={value}".encode())
        for name, content in sorted(self.files.items()):
            for path, file in _members(name, content):
                data = file if isinstance(file, bytes) else file.read_bytes()
                hashed.update(f"\n{path}:{len(data)}:".encode())
                hashed.update(data)
        for wheel in _wheels(self.wheels):
            hashed.update(f"\n{wheel.name}".encode())
        return hashed.hexdigest()[:_DIGEST_CHARS]

    @property
    def title_and_version(self) -> str:
        """The name of a ready image in a registry."""
        return f"clipper-{self.title}:{__version__}"

    def tag(self) -> str:
        """The image's name on the engine; reads the files."""
        return f"{self.title_and_version}-{self.digest()}"

    def context(self, target: IO[bytes]) -> None:
        """Write the build's context, a tar, to ``target``."""
        with tarfile.open(fileobj=target, mode="w|") as tar:
            add_file(tar, "Dockerfile", self.dockerfile)
            add_directory(tar, "wheels")
            for wheel in _wheels(self.wheels):
                add_file(tar, f"wheels/{wheel.name}", wheel)
            for name, content in sorted(self.files.items()):
                for path, file in _members(name, content):
                    add_file(tar, path, file)


@dataclass(frozen=True)
class Kitchen:
    """Where recipes get their ingredients: the settings ``docker_base_image`` and ``docker_wheels``."""

    base_image: str
    wheels: Path | None

    def recipes(self, flavor: str, manifest: Mapping[str, Any], artifact_dir: Path) -> list[Recipe]:
        """The images of a model, each built on the one before it; the last one is run.

        Of the artifact only the wheels that its requirements name go in.
        """
        framework = self._framework(flavor, manifest)
        recipes = [framework, _runtime(_known(flavor), framework.tag())]
        requirements = _not_in_framework(manifest.get("requirements") or (), manifest.get("packages") or {})
        if requirements:
            own = {"own/requirements.txt": "".join(f"{line}\n" for line in requirements).encode()}
            wheels = artifact_dir / WHEELS
            recipes.append(
                self._requirements(
                    flavor, recipes[-1].tag(), own | ({f"own/{WHEELS}": wheels} if wheels.is_dir() else {})
                )
            )
        return recipes

    def _framework(self, flavor: str, manifest: Mapping[str, Any]) -> Recipe:
        known = _known(flavor)
        python = ".".join((manifest.get("python") or platform.python_version()).split(".")[:2])
        return Recipe(
            f"{known}-framework",
            image_files() / known / "Dockerfile",
            {
                "BASE": self.base_image.replace("{python}", python),
                "PACKAGES": " ".join(pinned(known, manifest.get("packages") or {})),
                **self._pip_options(),
            },
            wheels=self._wheels_of(known),
        )

    def _requirements(self, flavor: str, runtime_tag: str, own: Mapping[str, bytes | Path]) -> Recipe:
        return Recipe(
            f"{flavor}-requirements",
            image_files() / "requirements.Dockerfile",
            {"RUNTIME_IMAGE": runtime_tag, **self._pip_options()},
            own,
            wheels=self._wheels_of(_known(flavor)),
        )

    def _pip_options(self) -> dict[str, str]:
        return {} if self.wheels is None else {"PIP_OPTIONS": "--no-index --find-links /wheels"}

    def _wheels_of(self, flavor: str) -> Path | None:
        """The flavor's own directory of wheels where there is one: frameworks are large."""
        if self.wheels is None:
            return None
        own = self.wheels / flavor
        return own if own.is_dir() else self.wheels


def pinned(flavor: str, packages: Mapping[str, str]) -> list[str]:
    """What is installed: the flavor's framework, and everything that the model was saved with in just that version."""
    framework = _FRAMEWORKS.get(flavor)
    pins = {_INSTALLED_AS.get(name, name): version.partition("+")[0] for name, version in packages.items()}
    unpinned = [framework] if framework is not None and framework not in pins else []
    return [*unpinned, *(f"{name}=={version}" for name, version in sorted(pins.items()))]


def _not_in_framework(requirements: Sequence[str], packages: Mapping[str, str]) -> list[str]:
    """What the framework layer has under another name (mlflow-skinny for mlflow) is not installed again."""
    there = {f"{name}=={packages[name]}" for name in _INSTALLED_AS if name in packages}
    return [line for line in requirements if line.replace(" ", "") not in there]


def baked(runtime_tag: str, artifact_dir: Path, labels: Mapping[str, str]) -> Recipe:
    """A model on top of its runtime; it is named by whoever builds it."""
    dockerfile = image_files() / "model.Dockerfile"
    return Recipe("model", dockerfile, {"RUNTIME_IMAGE": runtime_tag}, {"model": artifact_dir}, labels=labels)


@cache
def image_files() -> Path:
    """The directory of the Dockerfiles: in the installed package, or in a checkout."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


def _known(flavor: str) -> str:
    """The flavor whose image serves: those without a framework share the one of ``python``."""
    return flavor if flavor in _FRAMEWORKS else "python"


def _runtime(flavor: str, framework_tag: str) -> Recipe:
    source = Path(clipper_container.__file__).parent
    return Recipe(
        flavor, image_files() / "runtime.Dockerfile", {"FRAMEWORK_IMAGE": framework_tag}, {"clipper_container": source}
    )


def _wheels(directory: Path | None) -> list[Path]:
    return [] if directory is None else sorted(directory.glob("*.whl"))


def _members(name: str, content: bytes | Path) -> Iterator[tuple[str, bytes | Path]]:
    if isinstance(content, bytes):
        yield name, content
        return
    for path in sorted(content.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{name}/{path.relative_to(content).as_posix()}", path

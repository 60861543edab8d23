"""Why a model could not be loaded, in one sentence: what was expected, what is here, what to do."""

from clipper_container.flavors import NotLoadable
from clipper_container.flavors._frameworks import missing
from clipper_container.manifest import Difference, Manifest, is_damaged, version_differences
from clipper_container.options import Options
from clipper_container.sentences import describe
from clipper_container.warmup import WarmupFailed

_PACKAGES = {"sklearn": "scikit-learn", "google": "protobuf", "PIL": "pillow", "cv2": "opencv-python", "yaml": "pyyaml"}
"""Packages that are not called like their module."""


def known_cause(error: BaseException, options: Options, manifest: Manifest) -> BaseException:
    """A cause that can be named in place of what was raised; else what was raised.

    A missing package, another version than the one that saved the model, and damaged files all look like bugs deep in
    a framework.
    """
    if isinstance(error, NotLoadable):
        return error
    package = _missing_package(error)
    if package in manifest.packages:
        return missing(package, manifest.packages[package])
    if options.artifact is not None and is_damaged(options.artifact, manifest):
        return NotLoadable(
            f"The artifact's files are not those that were packaged (they fail with {describe(error)}): "
            "deploy the model again."
        )
    differences = [difference for difference in version_differences(manifest) if difference.may_break]
    return NotLoadable(_mismatch(error, manifest, differences)) if differences else error


def sentence_of(error: BaseException) -> str:
    """What is told of it."""
    if isinstance(error, NotLoadable | WarmupFailed):
        return str(error)
    package = _missing_package(error)
    hint = f"; if that is a package, deploy the model with requirements=['{package}']" if package else ""
    return f"The model could not be loaded: {describe(error)}{hint}"


def _missing_package(error: BaseException) -> str:
    """The package whose module was not found; empty where something else went wrong."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    root = error.name.partition(".")[0]
    return _PACKAGES.get(root, root.replace("_", "-"))


def _mismatch(error: BaseException, manifest: Manifest, differences: list[Difference]) -> str:
    said = str(error).rstrip(".") if isinstance(error, WarmupFailed) else describe(error)
    pins = [f"'{each.name}=={each.saved}'" for each in differences if each.name in manifest.packages]
    advice = f"deploy it with requirements=[{', '.join(pins)}]" if pins else f"have Python {manifest.python} run it"
    return (
        f"The model was saved with {'; '.join(map(str, differences))}, and could not be loaded ({said}): {advice}, "
        "or save it again with what is installed here."
    )

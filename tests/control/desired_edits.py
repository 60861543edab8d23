"""Applications and versions with as little said as need be."""

from clipper.control import desired as edits
from clipper.domain import Application, VersionSpec


def an_application(name="digits", **fields):
    return Application(**{"name": name, "input_type": "doubles", "slo_ms": 20, **fields})


def deploy(
    desired,
    model="svm",
    version="1",
    *,
    generation=1,
    manifest=None,
    digest="d" * 64,
    replaceable=None,
    current=None,
    **fields,
):
    spec = VersionSpec(**{"version": version, "input_type": "doubles", **fields})
    return edits.create_version(
        desired,
        model,
        spec,
        generation=generation,
        digest=digest,
        manifest=manifest or {},
        now=1.0,
        replaceable=replaceable,
        current=current,
    )

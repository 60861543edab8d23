"""What a new version has to agree with: its artifact's manifest."""

from collections.abc import Mapping
from typing import Any

from clipper.control.inputs import check_inputs_named
from clipper.domain import VersionSpec
from clipper.errors import InputTypeMismatch, InvalidRequest
from clipper.tensors import parse_tensors
from clipper.validation import validated


def agreed_with_manifest(model: str, spec: VersionSpec, digest: str | None, manifest: Mapping[str, Any]) -> VersionSpec:
    """``spec`` with what only the manifest says.

    Raises:
        InputTypeMismatch, InvalidRequest: The two contradict each other, or there is nothing to run.
    """
    what = f"the version '{spec.version}' of the model '{model}'"
    if spec.input_type != manifest.get("input_type", spec.input_type):
        raise InputTypeMismatch(
            f"{what.capitalize()} is to take {spec.input_type}, its artifact takes {manifest['input_type']}."
        )
    tensors = parse_tensors(manifest.get("inputs") or ())
    if spec.inputs and tensors and spec.inputs != tensors:
        ours, theirs = ", ".join(map(str, spec.inputs)), ", ".join(map(str, tensors))
        raise InputTypeMismatch(f"{what.capitalize()} is to take {ours}, its artifact takes {theirs}.")
    from_manifest: dict[str, Any] = {
        field: manifest[field] for field in ("inputs", "outputs") if manifest.get(field) and not getattr(spec, field)
    }
    for field in ("flavor", "method"):
        said, packed = getattr(spec, field), manifest.get(field)
        if packed not in {None, said}:
            if field in spec.model_fields_set:
                raise InvalidRequest(f"'{field}' of {what} is '{said}', its artifact was packed with '{packed}'.")
            from_manifest[field] = packed
    agreed = validated(VersionSpec, spec.model_dump(mode="json") | from_manifest, what)
    check_inputs_named(agreed, what)
    if agreed.external is not None and digest is not None:
        raise InvalidRequest(f"{what.capitalize()} is served by {agreed.external.address}: it takes no artifact.")
    if digest is None and agreed.flavor != "noop" and agreed.external is None:
        raise InvalidRequest(
            f"{what.capitalize()} needs an artifact: only the flavor 'noop' and external containers do without."
        )
    return agreed

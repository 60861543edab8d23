"""What the admin API makes of the store and of what the frontend measures."""

import pytest

from clipper.domain import Desired, Model, Observed, Snapshot, Version, VersionSpec
from clipper_frontends.rest.admin.views import model_info


def version(name):
    return Version(model="m", spec=VersionSpec(version=name, input_type="doubles"), generation=int(name))


SNAPSHOT = Snapshot(
    desired=Desired(models={"m": Model(name="m", target="2")}, versions={"m": {"1": version("1"), "2": version("2")}}),
    observed=Observed(current={"m": "2"}),
)


@pytest.mark.parametrize(
    ("measured", "current"),
    [
        ({}, "2"),
        ({"m:1": {"traffic": True}, "m:2": {"traffic": False}}, "1"),
        ({"m:1": {"traffic": False}, "m:2": {"traffic": True}}, "2"),
        ({"m:9": {"traffic": True}}, "2"),
    ],
)
def test_a_version_is_current_once_the_queries_go_there(measured, current):
    """The controller's choice is 2; the frontend follows when its own link to that version is ready."""
    info = model_info(SNAPSHOT, "m", measured)
    assert info.current == current
    assert [v.version for v in info.versions if v.current] == [current]

"""Which version loading a model means, and what loading and unloading change."""

import pytest
from test_desired import an_application, deploy

from clipper.control import desired as edits
from clipper.control.repository import load, unload, version_to_load
from clipper.domain import Desired, Observed
from clipper.errors import Conflict, InvalidRequest, UnknownModel, UnknownVersion


@pytest.fixture
def two():
    """Version 1 has the traffic, version 2 was deployed beside it."""
    return deploy(deploy(Desired(), generation=1), version="2", generation=2, promote=False)


def test_the_version_that_is_to_have_the_traffic_is_loaded(two):
    assert version_to_load(two, Observed(), "svm") == "1"
    assert version_to_load(edits.promote(two, "svm", "2"), Observed(current={"svm": "1"}), "svm") == "2"


def test_a_version_may_be_named(two):
    assert version_to_load(two, Observed(), "svm", "2") == "2"


def test_a_model_that_was_unloaded_is_loaded_as_it_was(two):
    unloaded = unload(two, "svm")
    assert not any(version.wanted for version in unloaded.versions["svm"].values())
    assert version_to_load(unloaded, Observed(previous={"svm": ("1",)}), "svm") == "1"
    assert load(unloaded, "svm", "1").models["svm"].target == "1"
    assert load(unloaded, "svm", "1").version("svm", "1").wanted
    assert not load(unloaded, "svm", "1").version("svm", "2").wanted


def test_of_a_model_that_never_served_the_newest_is_loaded():
    never = deploy(deploy(Desired(), version="9", promote=False), version="10", generation=2, promote=False)
    assert version_to_load(never, Observed(), "svm") == "10"


def test_loading_what_has_the_traffic_changes_nothing(two):
    assert load(two, "svm", "1") is two


def test_a_canary_goes_on_beside_a_version_that_is_loaded_again():
    canary = deploy(deploy(Desired()), version="2", generation=2, canary={"share": 0.1})
    assert load(canary, "svm", "1").models["svm"].canary == "2"
    assert load(canary, "svm", "2").models["svm"].target == "2"


def test_one_version_is_unloaded_and_the_others_stay(two):
    without = unload(two, "svm", "2")
    assert [version.wanted for version in without.versions["svm"].values()] == [True, False]
    assert without.models["svm"].target == "1"


@pytest.mark.parametrize(
    ("model", "version", "error"),
    [("nobody", None, UnknownModel), ("svm", "7", UnknownVersion), ("digits", None, InvalidRequest)],
)
def test_what_is_not_there_is_neither_loaded_nor_unloaded(two, model, version, error):
    desired = edits.create_application(two, an_application(models=["svm"]))
    with pytest.raises(error):
        version_to_load(desired, Observed(), model, version)
    with pytest.raises(error):
        unload(desired, model, version)


def test_a_version_without_replicas_is_said_to_have_none(two):
    with pytest.raises(Conflict, match="scaled to 0 replicas"):
        version_to_load(edits.patch_version(two, "svm", "1", {"replicas": 0}), Observed(), "svm")

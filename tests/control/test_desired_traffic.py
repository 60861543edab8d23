"""Which version is to have a model's traffic when others stop, are deleted or replaced on their way to it."""

import pytest
from desired_edits import deploy

from clipper.control import desired as edits
from clipper.deployment import Canary
from clipper.domain import Desired
from clipper.errors import InvalidRequest


def test_stopping_a_promotion_under_way_leaves_the_traffic_where_it_is():
    desired = edits.stop_version(deploy(deploy(Desired()), version="2"), "svm", "2", current="1")
    assert desired.models["svm"].target == "1"
    tried = deploy(desired, version="3", canary="5%")
    assert (tried.models["svm"].target, tried.models["svm"].canary) == ("1", "3")


def test_a_canary_gets_the_traffic_of_a_version_that_is_stopped():
    desired = edits.stop_version(deploy(deploy(Desired()), version="2", canary="5%"), "svm", "1", current="1")
    assert (desired.models["svm"].target, desired.models["svm"].canary) == ("2", None)
    assert edits.stop_model(desired, "svm").models["svm"].target is None


def test_deleting_a_promotion_under_way_leaves_the_traffic_where_it_is():
    desired = edits.delete_version(deploy(deploy(Desired()), version="2"), "svm", "2", current={"svm": "1"})
    assert desired.models["svm"].target == "1"


def test_a_version_in_place_of_one_that_failed_comes_to_the_traffic_only_as_it_says():
    failed = deploy(deploy(Desired()), version="2", generation=2)
    again = {"version": "2", "generation": 3, "replaceable": 2, "current": "1"}
    assert deploy(failed, **again).models["svm"].target == "2"
    assert deploy(failed, **again, promote=False).models["svm"].target == "1"
    tried = deploy(failed, **again, canary="5%").models["svm"]
    assert (tried.target, tried.canary) == ("1", "2")
    on_trial = deploy(deploy(Desired()), version="2", generation=2, canary="5%")
    assert deploy(on_trial, **again, promote=False).models["svm"].canary is None


def test_the_version_that_has_the_traffic_is_no_canary():
    desired = deploy(deploy(Desired()), version="2")
    with pytest.raises(InvalidRequest, match="no other version has the traffic"):
        edits.promote(desired, "svm", "1", Canary(share=0.05), current="1")

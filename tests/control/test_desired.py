"""The edits of the desired state: what they refuse, and what holds after any sequence of them."""

import contextlib

import pytest
from desired_edits import an_application, deploy
from hypothesis import given, settings
from hypothesis import strategies as st

from clipper.control import desired as edits
from clipper.control.lookup import applications_of, stillborn_generation, taken_by
from clipper.deployment import MAX_REPLICAS, Canary
from clipper.domain import (
    MAX_LINKED_MODELS,
    MAX_SLO_MS,
    Application,
    Desired,
    Observed,
    VersionStatus,
)
from clipper.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    InputTypeMismatch,
    InvalidRequest,
    NotFound,
    PolicyTakesOneModel,
    StillInUse,
    UnknownApplication,
    UnknownModel,
    UnknownVersion,
)


def test_a_first_version_makes_the_model_and_has_its_traffic():
    desired = deploy(Desired(), generation=7)
    assert desired.models["svm"].target == "1"
    assert desired.version("svm", "1").generation == 7
    assert desired.version("svm", "1").wanted


def test_a_version_without_promotion_leaves_the_target():
    desired = deploy(deploy(Desired()), version="2", promote=False)
    assert desired.models["svm"].target == "1"


def test_creating_what_exists_is_refused_even_if_identical():
    desired = edits.create_application(deploy(Desired()), an_application())
    with pytest.raises(AlreadyExists, match="application 'digits' exists"):
        edits.create_application(desired, an_application())
    with pytest.raises(AlreadyExists, match="version '1' of the model 'svm' exists"):
        deploy(desired)


def test_the_generation_that_may_be_replaced_is_and_no_other():
    desired = deploy(Desired(), generation=7, replicas=2)
    replaced = deploy(desired, generation=9, replaceable=7)
    assert replaced.version("svm", "1").generation == 9
    assert replaced.version("svm", "1").spec.replicas == 1
    with pytest.raises(AlreadyExists):
        deploy(replaced, generation=10, replaceable=7)


@pytest.mark.parametrize(
    ("state", "current", "previous", "generation"),
    [
        ("failed", {}, {}, 7),
        ("failed", {"svm": "2"}, {"svm": ("3",)}, 7),
        ("failed", {"svm": "1"}, {}, None),
        ("failed", {"svm": "2"}, {"svm": ("1",)}, None),
        ("starting", {}, {}, None),
        ("ready", {}, {}, None),
    ],
)
def test_only_what_failed_without_ever_having_had_the_traffic_may_be_replaced(state, current, previous, generation):
    status = VersionStatus(model="svm", version="1", generation=7, state=state)
    observed = Observed(current=current, previous=previous, statuses={"svm": {"1": status}})
    assert stillborn_generation(observed, "svm", "1") == generation
    assert stillborn_generation(observed, "svm", "2") is None


def test_a_version_created_anew_after_deletion_is_another_generation():
    desired = edits.delete_version(deploy(Desired(), generation=1), "svm", "1", current={})
    assert deploy(desired, generation=3).version("svm", "1").generation == 3


def test_linking_an_unknown_model_is_refused_also_at_creation():
    desired = edits.create_application(Desired(), an_application())
    with pytest.raises(UnknownModel, match="no model 'forest'"):
        edits.link(desired, "digits", "forest")
    with pytest.raises(UnknownModel, match="no model 'forest'"):
        edits.create_application(desired, an_application("letters", models=["forest"]))


def test_linking_twice_changes_nothing():
    desired = edits.create_application(deploy(Desired()), an_application(models=["svm"]))
    assert edits.link(desired, "digits", "svm") is desired


def test_single_takes_one_model_by_link_by_creation_and_by_patch():
    desired = deploy(deploy(Desired()), "forest")
    desired = edits.create_application(desired, an_application(models=["svm"]))
    with pytest.raises(PolicyTakesOneModel, match="'single'"):
        edits.link(desired, "digits", "forest")
    with pytest.raises(PolicyTakesOneModel):
        edits.create_application(desired, an_application("letters", models=["svm", "forest"]))
    with pytest.raises(PolicyTakesOneModel):
        edits.patch_application(desired, "digits", {"models": ["svm", "forest"]})


def test_a_policy_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(InvalidRequest, match=r"policy must be one of ab, .*, single, .*; got 'no-such-policy'"):
        edits.create_application(Desired(), an_application(policy="no-such-policy"))
    desired = edits.create_application(Desired(), an_application())
    with pytest.raises(InvalidRequest, match="takes no options; got eta"):
        edits.patch_application(desired, "digits", {"policy": {"name": "single", "options": {"eta": 1}}})


def test_another_model_can_take_the_place_of_the_first_under_single():
    desired = edits.create_application(deploy(deploy(Desired()), "forest"), an_application(models=["svm"]))
    desired = edits.link(edits.unlink(desired, "digits", "svm"), "digits", "forest")
    assert desired.applications["digits"].models == ("forest",)


def test_unlinking_what_is_not_linked_names_what_is():
    desired = edits.create_application(deploy(Desired()), an_application(models=["svm"]))
    with pytest.raises(UnknownModel, match=r"does not link the model 'forest' \(linked: svm\)"):
        edits.unlink(desired, "digits", "forest")


def test_input_types_that_differ_are_both_named():
    desired = edits.create_application(deploy(Desired(), input_type="strings"), an_application())
    with pytest.raises(InputTypeMismatch, match="'digits' takes doubles, its model 'svm' takes strings"):
        edits.link(desired, "digits", "svm")
    linked = edits.create_application(deploy(Desired()), an_application(models=["svm"]))
    with pytest.raises(InputTypeMismatch, match=r"'2' takes floats.*take doubles"):
        deploy(linked, version="2", input_type="floats")
    with pytest.raises(InputTypeMismatch, match="takes bytes, its model 'svm' takes doubles"):
        edits.patch_application(linked, "digits", {"input_type": "bytes"})


def test_the_manifest_s_input_type_must_be_the_spec_s():
    with pytest.raises(InputTypeMismatch, match="is to take doubles, its artifact takes floats"):
        deploy(Desired(), manifest={"input_type": "floats"})


def test_flavor_and_method_come_from_the_manifest_unless_they_were_given():
    manifest = {"flavor": "sklearn", "method": "predict_proba", "input_type": "doubles"}
    spec = deploy(Desired(), manifest=manifest).version("svm", "1").spec
    assert (spec.flavor, spec.method) == ("sklearn", "predict_proba")
    with pytest.raises(InvalidRequest, match="'flavor' of the version '1' of the model 'svm' is 'noop'"):
        deploy(Desired(), manifest=manifest, flavor="noop")


def test_only_noop_does_without_an_artifact():
    assert deploy(Desired(), flavor="noop", digest=None).version("svm", "1").digest is None
    with pytest.raises(InvalidRequest, match="needs an artifact"):
        deploy(Desired(), digest=None)


def test_a_model_that_is_linked_cannot_be_deleted():
    desired = edits.create_application(deploy(Desired()), an_application(models=["svm"]))
    with pytest.raises(StillInUse, match="linked by the application 'digits'"):
        edits.delete_model(desired, "svm")
    desired = edits.delete_model(edits.unlink(desired, "digits", "svm"), "svm")
    assert desired.models == desired.versions == {}


def test_a_version_with_the_traffic_of_a_linked_model_cannot_be_deleted():
    desired = edits.create_application(deploy(Desired()), an_application(models=["svm"]))
    desired = deploy(desired, version="2")
    with pytest.raises(StillInUse, match="version '2'"):
        edits.delete_version(desired, "svm", "2", current={"svm": "1"})
    with pytest.raises(StillInUse, match="version '1'"):
        edits.delete_version(desired, "svm", "1", current={"svm": "1"})
    assert list(edits.delete_version(desired, "svm", "1", current={"svm": "2"}).versions["svm"]) == ["2"]


def test_the_last_version_takes_an_unlinked_model_along():
    desired = edits.delete_version(deploy(Desired()), "svm", "1", current={"svm": "1"})
    assert desired == Desired()


def test_promoting_starts_a_stopped_version_and_unknown_ones_are_named():
    desired = edits.stop_version(deploy(Desired()), "svm", "1")
    assert (desired.models["svm"].target, desired.version("svm", "1").wanted) == (None, False)
    desired = edits.promote(desired, "svm", "1")
    assert (desired.models["svm"].target, desired.version("svm", "1").wanted) == ("1", True)
    with pytest.raises(UnknownVersion, match=r"no version '9' \(versions: 1\)"):
        edits.promote(desired, "svm", "9")
    with pytest.raises(UnknownModel):
        edits.promote(desired, "forest", "1")


def test_stopping_a_model_stops_all_its_versions():
    desired = edits.stop_model(deploy(deploy(Desired()), version="2"), "svm")
    assert not any(version.wanted for version in desired.versions["svm"].values())
    assert desired.models["svm"].target is None


def test_a_patch_replaces_what_it_names_and_nothing_else():
    desired = edits.create_application(Desired(), an_application(default_output=-1, min_confidence=0.5))
    patched = edits.patch_application(desired, "digits", {"slo_ms": 50, "min_confidence": None}).applications["digits"]
    assert (patched.slo_ms, patched.min_confidence, patched.default_output) == (50, None, -1)
    assert patched.has_default


def test_a_patch_can_set_a_default_of_null():
    desired = edits.create_application(Desired(), an_application())
    desired = edits.patch_application(desired, "digits", {"slo_ms": 30})
    assert not desired.applications["digits"].has_default
    assert edits.patch_application(desired, "digits", {"default_output": None}).applications["digits"].has_default


def test_a_version_s_patch_scales_and_rebatches():
    desired = edits.patch_version(deploy(Desired()), "svm", "1", {"replicas": 3, "batching": "fixed:32"})
    spec = desired.version("svm", "1").spec
    assert (spec.replicas, spec.batching.policy, spec.batching.size) == (3, "fixed", 32)


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        ({"replicas": MAX_REPLICAS + 1}, "'replicas' of the version '1' of the model 'svm' must be less than or equal"),
        ({"replicas": -1}, "must be greater than or equal to 0; -1 came"),
        ({"batching": {"policy": "fixed", "size": 0}}, "'batching.size'"),
        ({"batching": "fixed"}, "'size' is required by the policy 'fixed'"),
        ({"caching": {"ttl": 1}}, "'caching.ttl' .* is not a field"),
        ({"limits": {"threads": 5000}}, "'limits.threads'"),
        ({"input_type": "floats"}, "'input_type' of the version '1' of the model 'svm' cannot be changed"),
    ],
)
def test_a_version_s_patch_out_of_bounds_names_the_field(patch, sentence):
    with pytest.raises(InvalidRequest, match=sentence):
        edits.patch_version(deploy(Desired()), "svm", "1", patch)


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        ({"slo_ms": MAX_SLO_MS + 1}, "'slo_ms' of the application 'digits' must be less than or equal to 600000; "),
        ({"slo_ms": "soon"}, "'slo_ms' .* must be a number; 'soon' came"),
        ({"name": "other"}, "'name' of the application 'digits' cannot be changed"),
        ({"slo": 5}, "'slo' of the application 'digits' cannot be changed; default_output, input_type, inputs, "),
        ({"models": ["svm", "svm"]}, "names each model at most once"),
        ({"models": [f"m{i}" for i in range(MAX_LINKED_MODELS + 1)]}, "'models'"),
        ({"min_confidence": 1.5}, "'min_confidence'"),
    ],
)
def test_an_application_s_patch_out_of_bounds_names_the_field(patch, sentence):
    desired = edits.create_application(deploy(Desired()), an_application())
    with pytest.raises(InvalidRequest, match=sentence):
        edits.patch_application(desired, "digits", patch)


def test_a_model_s_patch_sets_how_many_versions_stay_warm():
    assert edits.patch_model(deploy(Desired()), "svm", {"keep_warm": 3}).models["svm"].keep_warm == 3
    with pytest.raises(InvalidRequest, match="'target' of the model 'svm' cannot be changed; keep_warm can"):
        edits.patch_model(deploy(Desired()), "svm", {"target": "2"})


def test_unknown_names_are_told_apart():
    with pytest.raises(UnknownApplication):
        edits.patch_application(Desired(), "digits", {})
    with pytest.raises(UnknownApplication):
        edits.delete_application(Desired(), "digits")
    with pytest.raises(UnknownModel):
        edits.stop_model(Desired(), "svm")
    with pytest.raises(UnknownVersion):
        edits.patch_version(deploy(Desired()), "svm", "2", {})


apps, models, versions = st.sampled_from(["a", "b"]), st.sampled_from(["m", "n", "o"]), st.sampled_from(["1", "2"])
types, policies = st.sampled_from(["doubles", "floats"]), st.sampled_from(["single", "no-such-policy"])
links = st.lists(models, unique=True, max_size=3)
one_edit = st.one_of(
    st.builds(
        lambda name, kind, policy, linked: lambda d, _g: edits.create_application(
            d, Application(name=name, input_type=kind, slo_ms=1, policy=policy, models=linked)
        ),
        apps, types, policies, links,
    ),
    st.builds(
        lambda model, version, kind, promote: lambda d, g: deploy(
            d, model, version, generation=g, input_type=kind, promote=promote
        ),
        models, versions, types, st.booleans(),
    ),
    st.builds(lambda a, p: lambda d, _g: edits.patch_application(d, a, {"policy": p}), apps, policies),
    st.builds(lambda a, t: lambda d, _g: edits.patch_application(d, a, {"input_type": t}), apps, types),
    st.builds(lambda a, m: lambda d, _g: edits.patch_application(d, a, {"models": m}), apps, links),
    st.builds(lambda a: lambda d, _g: edits.delete_application(d, a), apps),
    st.builds(lambda a, m: lambda d, _g: edits.link(d, a, m), apps, models),
    st.builds(lambda a, m: lambda d, _g: edits.unlink(d, a, m), apps, models),
    st.builds(lambda m, v: lambda d, _g: edits.promote(d, m, v), models, versions),
    st.builds(
        lambda m, v, c: lambda d, _g: edits.promote(d, m, v, Canary(share=0.05), current=c), models, versions, versions
    ),
    st.builds(lambda m, v, c: lambda d, _g: edits.stop_version(d, m, v, current=c), models, versions, versions),
    st.builds(lambda m: lambda d, _g: edits.stop_model(d, m), models),
    st.builds(lambda m, v, c: lambda d, _g: edits.delete_version(d, m, v, current={m: c}), models, versions, versions),
    st.builds(lambda m: lambda d, _g: edits.delete_model(d, m), models),
)  # fmt: skip


@given(st.lists(one_edit, max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_sequence_of_edits_keeps_the_promises(sequence):
    desired = Desired()
    for generation, edit in enumerate(sequence, 1):
        untouched, before = desired, desired.model_dump_json()
        with contextlib.suppress(BadRequest, NotFound, Conflict):
            desired = edit(desired, generation)
        assert untouched.model_dump_json() == before
        check_promises(desired)


def check_promises(desired):
    for app in desired.applications.values():
        assert len(app.models) <= 1 or app.policy.name != "single"
        for model in app.models:
            assert model in desired.models
            assert taken_by(desired, model) in {None, (app.input_type, app.inputs)}
    assert desired.versions.keys() <= desired.models.keys()
    for model in desired.models.values():
        siblings = desired.versions.get(model.name, {})
        assert len({version.spec.input_type for version in siblings.values()}) <= 1
        assert model.target is None or siblings[model.target].wanted
        assert model.canary is None or (siblings[model.canary].wanted and model.canary != model.target)
        assert siblings or applications_of(desired, model.name)
    generations = [version.generation for versions in desired.versions.values() for version in versions.values()]
    assert len(set(generations)) == len(generations)

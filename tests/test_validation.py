"""Sentences for what pydantic found: the field, what was expected, what came."""

import pytest

from clipper.domain import Application, VersionSpec
from clipper.errors import InvalidRequest
from clipper.validation import validated

APP = {"name": "digits", "input_type": "doubles", "slo_ms": 20}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"slo_ms": 0}, "'slo_ms' of the application must be greater than 0; 0 came."),
        (
            {"input_type": "images"},
            "'input_type' of the application must be 'doubles', 'floats', 'integers', 'strings', ",
        ),
        (
            {"name": "Digits!"},
            "'name' of the application must be lower-case letters and digits, with dashes between them; 'Digits!' ",
        ),
        ({"name": "x" * 64}, "'name' of the application must have at most 63 characters; 'xxx"),
        (
            {"slo": 1},
            "'slo' of the application is not a field that is known; its fields are name, input_type, slo_ms, ",
        ),
        ({"models": "svm"}, "'models' of the application "),
        ({"models": [1]}, "'models.0' of the application must be a valid string; 1 came."),
    ],
)
def test_each_fault_names_its_field_and_what_came(change, sentence):
    with pytest.raises(InvalidRequest) as refused:
        validated(Application, APP | change, "the application")
    assert refused.value.message.startswith(sentence)


def test_missing_fields_are_all_named():
    with pytest.raises(InvalidRequest) as refused:
        validated(Application, {}, "the application")
    assert refused.value.message == (
        "'name' of the application is missing; 'input_type' of the application is missing; "
        "'slo_ms' of the application is missing."
    )


def test_a_rule_over_several_fields_is_told_as_it_was_written():
    with pytest.raises(InvalidRequest, match="'batching' of the version: 'size' is required by the policy 'fixed'"):
        validated(VersionSpec, {"version": 1, "input_type": "doubles", "batching": {"policy": "fixed"}}, "the version")


def test_a_long_list_of_faults_is_cut_and_so_is_a_long_value():
    faults = {f"f{i}": 1 for i in range(10)}
    with pytest.raises(InvalidRequest, match=r"\(and 7 more\)\.$"):
        validated(Application, APP | faults, "the application")
    with pytest.raises(InvalidRequest) as refused:
        validated(Application, APP | {"slo_ms": "x" * 10_000}, "the application")
    assert len(refused.value.message) < 300


def test_what_is_no_object_at_all_is_told():
    with pytest.raises(InvalidRequest, match="The application must be a JSON object; "):
        validated(Application, [1], "the application")

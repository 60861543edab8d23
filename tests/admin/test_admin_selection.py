"""What the admin API shows of a policy's choice, and of the feedback behind it."""

import pytest

from clipper.domain import Application
from clipper.evidence import Evidence
from clipper_frontends.rest.admin.selection import selection_of

VERSIONS = {"svm": "2", "forest": "1"}


def application(policy="exp3", **fields):
    return Application(name="digits", input_type="doubles", slo_ms=20, policy=policy, models=tuple(VERSIONS), **fields)


def evidence(*losses: tuple[str, float], half_life=None) -> Evidence:
    known = Evidence()
    for arm, loss in losses:
        change = {name: {"eligible": 1.0} for name in VERSIONS}
        change[arm] |= {"plays": 1.0, "loss": loss, "weighted_loss": 2 * loss}
        known.add(change, half_life)
    return known


def selection(app=None, known=None, uid=None, versions=VERSIONS):
    return selection_of(app or application(), 7, versions, known or {}, uid)


def by_model(selection):
    return {choice.model: choice for choice in selection.models}


def test_without_feedback_all_have_the_same_chance_and_no_counts():
    shown = selection()
    assert (shown.application, shown.policy, shown.feedbacks, shown.fault) == ("digits", "exp3", 0, None)
    for choice in shown.models:
        assert choice.weight == choice.probability == pytest.approx(0.5)
        assert (choice.eligible, choice.plays, choice.mean_loss) == (0, 0, None)
    assert [(choice.model, choice.version, choice.arm) for choice in shown.models] == [
        ("svm", "2", "svm"),
        ("forest", "1", "forest"),
    ]


def test_feedback_moves_weights_and_is_counted():
    known = evidence(*[("svm", 1.0)] * 30, *[("forest", 0.0)] * 10)
    shown = selection(known={("digits", 7, ""): known})
    svm, forest = by_model(shown)["svm"], by_model(shown)["forest"]
    assert shown.feedbacks == 40
    assert svm.probability < 0.2
    assert forest.probability > 0.8
    assert svm.probability + forest.probability == pytest.approx(1.0)
    assert (svm.eligible, svm.plays, svm.mean_loss) == (40, 30, 1.0)
    assert (forest.plays, forest.mean_loss) == (10, 0.0)


def test_evidence_of_an_earlier_application_of_that_name_does_not_count():
    assert selection(known={("digits", 6, ""): evidence(("svm", 1.0))}).feedbacks == 0


def test_a_users_weights_begin_with_everybodys_and_counts_are_the_users_own():
    shared = {("digits", 7, ""): evidence(*[("svm", 1.0), ("forest", 0.0)] * 100)}
    stranger = selection(known=shared, uid="new")
    assert stranger.feedbacks == 0
    assert by_model(stranger)["svm"].plays == 0
    assert by_model(stranger)["svm"].weight < 0.5
    own = shared | {("digits", 7, "user-7"): evidence(*[("forest", 1.0), ("svm", 0.0)] * 30)}
    known = selection(known=own, uid="user-7")
    assert (known.uid, known.feedbacks) == ("user-7", 60)
    assert by_model(known)["forest"].plays == 30
    assert by_model(known)["svm"].weight > by_model(stranger)["svm"].weight


def test_all_members_of_an_ensemble_are_asked():
    shown = selection(application("exp4"), {("digits", 7, ""): evidence(*[("svm", 1.0), ("forest", 0.0)] * 30)})
    assert {choice.probability for choice in shown.models} == {1.0}
    assert by_model(shown)["svm"].weight < by_model(shown)["forest"].weight


def test_versions_that_begin_anew_are_arms_of_their_own():
    app = application({"name": "exp3", "options": {"new_version": "restart"}})
    shown = selection(app, {("digits", 7, ""): evidence(("svm", 1.0))})
    assert [choice.arm for choice in shown.models] == ["svm:2", "forest:1"]
    assert by_model(shown)["svm"].plays == 0
    assert shown.options == {"new_version": "restart"}


def test_old_feedback_weighs_less_where_the_policy_forgets():
    known = evidence(*[("svm", 1.0)] * 100, half_life=10.0)
    shown = selection(known={("digits", 7, ""): known})
    assert shown.feedbacks == 100
    assert by_model(shown)["svm"].plays < 20


def test_an_application_without_models_has_nothing_to_choose_among():
    assert selection(versions={}).models == []


def test_the_route_shows_an_application_and_knows_no_other(admin):
    admin.post("/admin/apps", json={"name": "shown", "input_type": "doubles", "slo_ms": 20, "policy": "exp3"})
    body = admin.get("/admin/apps/shown/selection").json()
    assert (body["application"], body["policy"], body["uid"], body["models"]) == ("shown", "exp3", None, [])
    assert admin.get("/admin/apps/shown/selection?uid=user-7").json()["uid"] == "user-7"
    assert admin.get("/admin/apps/nobody/selection").json()["code"] == "unknown_application"


def test_an_empty_log_is_a_page_without_records(admin):
    admin.post("/admin/apps", json={"name": "unlogged", "input_type": "doubles", "slo_ms": 20, "policy": "exp3"})
    assert admin.get("/admin/apps/unlogged/feedback").json() == {"records": [], "next": None}
    assert admin.get("/admin/apps/nobody/feedback").json()["code"] == "unknown_application"


@pytest.mark.parametrize("query", ["since=yesterday", "since=-1", "until=nan", "after=-1", "after=x"])
def test_bounds_of_a_page_that_are_no_numbers_are_refused_with_their_name(admin, query):
    admin.post("/admin/apps", json={"name": "unlogged", "input_type": "doubles", "slo_ms": 20, "policy": "exp3"})
    reply = admin.get(f"/admin/apps/unlogged/feedback?{query}")
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")
    assert query.partition("=")[0] in reply.json()["error"]


def test_erasing_somebody_unknown_removes_nothing(admin):
    assert admin.delete("/admin/users/nobody%2Fat-all").json() == {"erased": "nobody/at-all", "records": 0}
    reply = admin.delete(f"/admin/users/{'u' * 257}")
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")

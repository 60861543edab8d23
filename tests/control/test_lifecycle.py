"""Decisions about versions and replicas, in simulated time: no process, no clock, no store."""

from dataclasses import replace

import pytest
from lifecycle_simulation import TIMING, Simulation, in_service

from clipper.control import desired as edits
from clipper.control.lifecycle import FAILED_LINGER_S, Stop, Traffic, decide
from clipper.control.manager import Running
from clipper.control.observe import observe
from clipper.control.slots import (
    CRASH_LOOP_FAILURES,
    LONGEST_HEALTHY_S,
    became_ready,
    lost,
    preparing,
    progressed,
    started,
)
from clipper.domain import Desired, Observed


@pytest.fixture
def sim():
    return Simulation()


def test_a_version_starts_warms_and_takes_the_traffic_when_ready(sim):
    sim.deploy("1", replicas=2)
    assert {action.slot.replica_id for action in sim.step()} == {"svm.1.g1.r0", "svm.1.g1.r1"}
    assert (sim.states(), sim.observed.current) == ({"1": "starting"}, {})
    sim.slots["svm.1.g1.r0"] = progressed(sim.slots["svm.1.g1.r0"], "warming", "", sim.now_s)
    sim.step()
    assert (sim.states(), sim.observed.current) == ({"1": "warming"}, {})
    sim.ready("svm.1.g1.r0")
    assert (sim.states(), sim.observed.current) == ({"1": "ready"}, {"svm": "1"})
    assert sim.status("1").input_width == 64


def test_what_is_prepared_is_the_reason_until_the_process_is_there_and_each_step_counts_as_life(sim):
    sim.deploy("1")
    sim.step()
    name = "svm.1.g1.r0"
    sim.slots[name] = replace(sim.slots[name], pid=None)
    for doing in ("pulling an image", "installing requirements"):
        sim.now_s += TIMING.start_timeout_s - 1.0
        sim.slots[name] = preparing(sim.slots[name], doing, sim.now_s)
        assert sim.step() == ()
        assert sim.status("1").reason == f"{name}: {doing}"
    sim.slots[name] = started(sim.slots[name], Running(name, "svm", "1", 1, "unix:/x", 7, 0.0))
    sim.slots[name] = preparing(sim.slots[name], "told late", sim.now_s)
    sim.ready(name)
    assert (sim.status("1").state, sim.status("1").reason) == ("ready", None)


def test_deciding_again_changes_nothing(sim):
    in_service(sim, "1", "2", "3", replicas=2)
    before = sim.observed
    assert sim.step() == ()
    assert sim.observed == before


def test_the_old_version_serves_until_the_new_one_is_ready_and_stays_warm(sim):
    in_service(sim, "1")
    sim.deploy("2")
    sim.step(50.0)
    assert sim.observed.current == {"svm": "1"}
    sim.ready("svm.2.g2.r0")
    assert (sim.observed.current, sim.states()) == ({"svm": "2"}, {"1": "ready", "2": "ready"})
    assert sim.observed.previous == {"svm": ("1",)}


def test_rolling_back_to_a_warm_version_takes_one_step(sim):
    in_service(sim, "1", "2")
    sim.edit(edits.promote, "svm", "1")
    assert sim.step() == ()
    assert (sim.observed.current, sim.observed.previous) == ({"svm": "1"}, {"svm": ("2",)})


def test_older_versions_drain_first_and_stop_then(sim):
    in_service(sim, "1", "2", "3")
    assert sim.states() == {"1": "draining", "2": "ready", "3": "ready"}
    assert sim.observed.replicas["svm.1.g1.r0"].state == "draining"
    assert sim.step(TIMING.drain_s * 0.9) == ()
    assert sim.step(TIMING.drain_s * 0.2) == (Stop("svm.1.g1.r0"),)
    sim.ends("svm.1.g1.r0", "exited with code 0")
    assert sim.states()["1"] == "stopped"
    assert "promote it" in sim.status("1").reason
    assert sim.running == {"svm.2.g2.r0", "svm.3.g3.r0"}


def test_promoting_a_stopped_version_starts_it_and_moves_when_it_is_ready(sim):
    in_service(sim, "1", "2", "3")
    sim.step(TIMING.drain_s)
    sim.ends("svm.1.g1.r0")
    sim.edit(edits.promote, "svm", "1")
    assert [action.slot.replica_id for action in sim.step()] == ["svm.1.g1.r0"]
    assert sim.observed.current == {"svm": "3"}
    sim.ready("svm.1.g1.r0")
    assert (sim.observed.current, sim.observed.previous) == ({"svm": "1"}, {"svm": ("3", "2")})


def test_keep_warm_counts_the_versions_that_had_the_traffic(sim):
    sim.deploy("0")
    sim.edit(edits.patch_model, "svm", {"keep_warm": 2})
    sim.step()
    sim.ready()
    in_service(sim, "1", "2", "3")
    assert sim.states() == {"0": "draining", "1": "ready", "2": "ready", "3": "ready"}


def test_a_version_without_promotion_runs_beside_the_current_one(sim):
    in_service(sim, "1")
    sim.deploy("2", promote=False)
    sim.step()
    sim.ready()
    sim.step(1000.0)
    assert (sim.observed.current, sim.states()) == ({"svm": "1"}, {"1": "ready", "2": "ready"})


def test_a_target_that_was_overtaken_before_it_was_ready_stops(sim):
    in_service(sim, "1")
    sim.deploy("2")
    sim.step()
    sim.deploy("3")
    assert Stop("svm.2.g2.r0") in sim.step(), "it has no traffic: nobody needs to notice first"


def test_a_target_that_cannot_be_loaded_leaves_the_traffic_and_says_why(sim):
    in_service(sim, "1")
    sim.deploy("2")
    sim.step()
    sim.fails_to_load("svm.2.g2.r0", "model.pkl needs scikit-learn 9")
    assert (sim.observed.current, sim.states()) == ({"svm": "1"}, {"1": "ready", "2": "failed"})
    assert sim.status("2").reason == "svm.2.g2.r0: model.pkl needs scikit-learn 9"
    sim.ends("svm.2.g2.r0", "exited with code 1")
    assert sim.status("2").reason == "svm.2.g2.r0: model.pkl needs scikit-learn 9", "not the exit that followed"
    assert sim.observed.replicas["svm.2.g2.r0"].last_words == "last words"


def test_a_failed_version_is_tried_again_and_takes_the_traffic_when_it_succeeds(sim):
    sim.deploy("1")
    sim.step()
    sim.fails_to_load("svm.1.g1.r0", "no memory")
    sim.ends("svm.1.g1.r0")
    assert sim.step(4.0) == ()
    assert len(sim.step(2.0)) == 1
    assert sim.states() == {"1": "failed"}, "failed until it is ready"
    sim.ready()
    assert (sim.observed.current, sim.states()) == ({"svm": "1"}, {"1": "ready"})


def test_a_replica_that_failed_and_lingers_is_killed(sim):
    sim.deploy("1")
    sim.step()
    sim.fails_to_load("svm.1.g1.r0", "no")
    sim.step(FAILED_LINGER_S)
    assert sim.killed == {"svm.1.g1.r0": "no"}


def test_a_crashed_replica_restarts_at_once_under_its_name_and_the_reason_stays(sim):
    in_service(sim, "1", replicas=2)
    sim.ends("svm.1.g1.r0", "killed by signal 9 (SIGKILL)")
    assert sim.status("1").state == "ready"
    assert "SIGKILL" in sim.status("1").reason
    assert sim.wake_at_s == sim.now_s + 0.05
    (start,) = sim.step(0.06)
    assert start.slot.replica_id == "svm.1.g1.r0"
    sim.ready("svm.1.g1.r0")
    replica = sim.observed.replicas["svm.1.g1.r0"]
    assert (replica.state, replica.restarts, replica.reason) == ("ready", 1, "killed by signal 9 (SIGKILL)")
    assert sim.status("1").reason is None


def test_a_crash_loop_fails_the_version_and_is_tried_ever_more_seldom(sim):
    sim.deploy("1")
    sim.step()
    pauses = []
    for _ in range(12):
        sim.ends("svm.1.g1.r0", "exited with code 3", draw=1.0)
        pauses.append(sim.wake_at_s - sim.now_s)
        assert sim.states()["1"] == ("failed" if len(pauses) >= CRASH_LOOP_FAILURES else "starting")
        sim.step(pauses[-1])
    assert pauses[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60.0


@pytest.mark.parametrize("connection_breaks_first", [True, False])
def test_a_replica_that_was_healthy_for_long_starts_counting_anew(sim, connection_breaks_first):
    in_service(sim, "1")
    for _ in range(CRASH_LOOP_FAILURES + 1):
        sim.step(LONGEST_HEALTHY_S)
        if connection_breaks_first:
            sim.slots["svm.1.g1.r0"] = lost(sim.slots["svm.1.g1.r0"], sim.now_s)
            sim.step()
            assert sim.states()["1"] == "starting"
        sim.ends("svm.1.g1.r0")
        assert sim.states()["1"] == "starting"
        sim.step(0.25)
        sim.ready("svm.1.g1.r0")


def test_a_replica_that_serves_between_its_deaths_is_soon_back_each_time(sim):
    in_service(sim, "1")
    for _ in range(20):
        sim.step(2.0)
        sim.ends("svm.1.g1.r0", draw=1.0)
        assert sim.wake_at_s - sim.now_s <= 2.0
        sim.step(sim.wake_at_s - sim.now_s)
        sim.ready("svm.1.g1.r0")


def test_a_replica_that_dies_as_soon_as_it_serves_pauses_ever_longer(sim):
    in_service(sim, "1")
    for _ in range(12):
        sim.step(0.5)
        sim.ends("svm.1.g1.r0", draw=1.0)
        pause_s = sim.wake_at_s - sim.now_s
        sim.step(pause_s)
        sim.ready("svm.1.g1.r0")
    assert pause_s == 60.0


def test_a_replica_that_is_never_ready_is_killed_with_the_reason(sim):
    sim.deploy("1")
    sim.step()
    sim.step(TIMING.start_timeout_s)
    assert sim.killed == {"svm.1.g1.r0": "not ready within 100 s (start_timeout_s)"}


def test_scaling_up_adds_and_scaling_down_drains_the_last(sim):
    in_service(sim, "1")
    sim.edit(edits.patch_version, "svm", "1", {"replicas": 3})
    assert {action.slot.replica_id for action in sim.step()} == {"svm.1.g1.r1", "svm.1.g1.r2"}
    sim.ready()
    sim.edit(edits.patch_version, "svm", "1", {"replicas": 1})
    sim.step()
    assert {r.replica_id for r in sim.observed.replicas.values() if r.state == "ready"} == {"svm.1.g1.r0"}
    assert set(sim.step(TIMING.drain_s)) == {Stop("svm.1.g1.r1"), Stop("svm.1.g1.r2")}


def test_scaling_down_spares_what_serves(sim):
    in_service(sim, "1", replicas=2)
    sim.ends("svm.1.g1.r0")
    sim.edit(edits.patch_version, "svm", "1", {"replicas": 1})
    assert sim.step() == ()
    assert set(sim.slots) == {"svm.1.g1.r1"}


def test_a_draining_replica_s_place_is_not_taken(sim):
    in_service(sim, "1")
    sim.edit(edits.patch_version, "svm", "1", {"replicas": 0})
    sim.step()
    assert (sim.states()["1"], sim.status("1").reason) == ("draining", "Scaled to 0 replicas.")
    sim.edit(edits.patch_version, "svm", "1", {"replicas": 1})
    (start,) = sim.step()
    assert start.slot.replica_id == "svm.1.g1.r1"


def test_stopping_drains_and_takes_the_traffic_away(sim):
    in_service(sim, "1")
    sim.edit(edits.stop_model, "svm")
    sim.step()
    assert (sim.observed.current, sim.states()) == ({}, {"1": "draining"})
    sim.step(TIMING.drain_s)
    sim.ends("svm.1.g1.r0")
    assert (sim.states(), sim.status("1").reason, sim.slots) == ({"1": "stopped"}, None, {})


def test_deleting_and_creating_anew_replaces_the_replicas_and_waits_for_them(sim):
    in_service(sim, "1")
    sim.edit(edits.delete_version, "svm", "1", current={})
    sim.deploy("1")
    sim.step()
    assert sim.observed.current == {}, "the traffic was the deleted version's"
    assert sim.slots["svm.1.g1.r0"].phase == "draining"
    sim.ready("svm.1.g2.r0")
    assert (sim.observed.current, sim.status("1").generation) == ({"svm": "1"}, 2)


def test_a_replica_whose_process_is_not_there_yet_is_stopped_once_it_is(sim):
    sim.deploy("1")
    decision = decide(sim.desired, sim.observed, {}, sim.now_s, TIMING)
    in_flight = dict(decision.slots)
    stopped = edits.stop_model(sim.desired, "svm")
    decision = decide(stopped, sim.observed, in_flight, sim.now_s, TIMING)
    assert (decision.actions, decision.wake_at_s) == ((), None)
    running = Running("svm.1.g1.r0", "svm", "1", 1, "unix:/x", 42, 1.0)
    there = {"svm.1.g1.r0": started(decision.slots["svm.1.g1.r0"], running)}
    assert decide(stopped, sim.observed, there, sim.now_s, TIMING).actions == (Stop("svm.1.g1.r0"),)


def test_a_broken_connection_takes_readiness_until_it_is_back(sim):
    in_service(sim, "1")
    sim.slots["svm.1.g1.r0"] = lost(sim.slots["svm.1.g1.r0"], sim.now_s)
    sim.step()
    assert (sim.states(), sim.observed.current) == ({"1": "starting"}, {"svm": "1"})
    sim.ready()
    assert sim.states() == {"1": "ready"}


def test_since_is_when_the_state_began(sim):
    in_service(sim, "1")
    since = sim.status("1").since, sim.observed.replicas["svm.1.g1.r0"].since
    sim.step(500.0)
    assert (sim.status("1").since, sim.observed.replicas["svm.1.g1.r0"].since) == since


def test_a_broken_connection_is_noted_only_for_a_ready_replica(sim):
    sim.deploy("1")
    sim.step()
    slot = sim.slots["svm.1.g1.r0"]
    assert lost(slot, 5.0) is slot
    draining = replace(slot, phase="draining")
    assert became_ready(draining, 1, 5.0) is draining


def test_traffic_is_reported_as_decided(sim):
    observed = observe(Desired(), Observed(), {}, Traffic({"svm": "1"}, {"svm": ("2",)}), "host", 0.0)
    assert (observed.current, observed.previous) == ({"svm": "1"}, {"svm": ("2",)})

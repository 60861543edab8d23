"""What the controller makes of measurements: replicas that follow the load, canaries that win or lose. Simulated."""

import pytest
from lifecycle_simulation import Simulation, in_service

from clipper.control import desired as edits
from clipper.control.sight import Measured, Sight
from clipper.control.steering import Steering
from clipper.deployment import Canary
from clipper.engine.load import VersionLoad
from clipper.errors import Conflict, InvalidRequest
from clipper.metrics import VersionMetrics

SOON = {"share": 0.05, "duration_s": 30, "min_queries": 100}


class Steered(Simulation):
    """A host whose frontends measure what the test says; one look a second."""

    def __init__(self):
        super().__init__()
        self.steering, self.loads, self.counts = Steering(), {}, {}

    def load(self, version, rate, per_s=100.0):
        self.loads["svm", version] = VersionLoad(
            rate, rate, 0.0, busy=rate / per_s, batch_queries=1.0, batch_s=1 / per_s, run_s=1 / per_s, slo_s=1.0
        )

    def serves(self, version, queries, errors=0, *, answer_s=0.01):
        metrics = self.counts.setdefault(("svm", version), VersionMetrics())
        metrics.cache_misses += queries
        metrics.failures["model_error"] += errors
        metrics.answer_s.observe(answer_s, queries - errors)

    def look(self, seconds=1):
        for _ in range(seconds):
            self.now_s += 1.0
            sight = Sight(self.desired, self.observed, Measured([self.loads], self.counts), self.now_s, self.now_s)
            steered = self.steering.steer(sight)
            self.observed = steered.observed
            for conclusion in steered.conclusions:
                self.desired = conclusion.edit(self.desired, 0)
                rollouts = {**self.observed.rollouts, conclusion.rollout.model: conclusion.rollout}
                self.observed = self.observed.model_copy(update={"rollouts": rollouts})
            self.step()

    @property
    def rollout(self):
        return self.observed.rollouts["svm"]

    def members(self, version, *phases):
        return [slot for slot in self.slots.values() if slot.version == version and slot.phase in phases]


def a_canary(**canary):
    sim = in_service(Steered(), "1")
    sim.deploy("2", canary={**SOON, **canary})
    sim.step()
    return sim


def test_a_version_in_a_range_starts_with_the_least_and_follows_its_load():
    sim = in_service(Steered(), "1", replicas={"min": 2, "max": 6})
    assert len(sim.slots) == 2
    sim.load("1", 310.0)
    sim.look()
    assert len(sim.slots) == 4
    assert sim.status("1").scale.reason == "2 -> 4: 310 queries/s, 100/s a replica"
    sim.ready()
    sim.load("1", 10.0)
    sim.look(20)
    assert len(sim.members("1", "ready")) == 2
    assert len(sim.members("1", "draining", "stopping")) == 2, "they finish what they have"


def test_new_bounds_hold_at_once_and_a_number_ends_scaling():
    sim = in_service(Steered(), "1", replicas="1-8")
    sim.load("1", 600.0)
    sim.look()
    assert len(sim.slots) == 8
    sim.ready()
    sim.edit(edits.patch_version, "svm", "1", {"replicas": "1-3"})
    sim.step()
    assert len(sim.members("1", "ready")) == 3
    sim.edit(edits.patch_version, "svm", "1", {"replicas": 2})
    sim.look()
    assert (len(sim.members("1", "ready")), sim.status("1").scale) == (2, None)


def test_nothing_is_scaled_by_refusals_while_no_replica_is_ready():
    sim = Steered()
    sim.deploy("1", replicas="1-8")
    sim.load("1", 600.0)
    sim.step()
    sim.look(5)
    assert len(sim.slots) == 1


def test_a_canary_warms_beside_the_current_version_and_takes_nothing_before():
    sim = a_canary()
    sim.look()
    assert (sim.observed.current, sim.rollout.state) == ({"svm": "1"}, "waiting")
    sim.ready()
    sim.look()
    assert (sim.observed.current, sim.rollout.state, sim.rollout.against) == ({"svm": "1"}, "running", "1")


def test_a_canary_that_holds_is_promoted_and_the_old_version_stays_warm():
    sim = a_canary()
    sim.ready()
    for _ in range(40):
        sim.serves("1", 95)
        sim.serves("2", 5)
        sim.look()
    assert (sim.observed.current, sim.rollout.state) == ({"svm": "2"}, "promoted")
    assert sim.desired.models["svm"].target == "2"
    assert sim.states() == {"1": "ready", "2": "ready"}


def test_a_canary_that_fails_is_rolled_back_and_stops():
    sim = a_canary()
    sim.ready()
    sim.look()
    sim.serves("1", 95)
    sim.serves("2", 5, errors=5)
    sim.look()
    assert (sim.rollout.state, sim.observed.current, sim.desired.models["svm"].target) == (
        "rolled_back",
        {"svm": "1"},
        "1",
    )
    sim.look(5)
    assert sim.states()["2"] == "draining"
    assert sim.status("2").reason.startswith("Rolled back: 100.00% of its 5 queries came to an error")


def test_what_happened_before_the_canary_served_does_not_count():
    sim = in_service(Steered(), "1")
    sim.serves("1", 10_000)
    sim.serves("2", 500, errors=500)
    sim.deploy("2", canary=SOON)
    sim.step()
    sim.ready()
    sim.look(3)
    assert sim.rollout.state == "running"


def compared(sim, seconds, *slow_seconds):
    """The canary serves for so long; in some seconds its answers take longer than they may."""
    for second in range(seconds):
        sim.serves("1", 95)
        sim.serves("2", 5, answer_s=0.5 if second in slow_seconds else 0.01)
        sim.look()


def test_a_canary_that_is_slow_is_rolled_back_when_that_goes_on():
    sim = a_canary()
    sim.ready()
    compared(sim, 9, *range(9))
    assert sim.rollout.state == "running"
    compared(sim, 5, *range(5))
    assert sim.rollout.state == "rolled_back"
    assert "answers took longer than" in sim.rollout.reason


def test_slow_first_answers_are_no_reason():
    sim = a_canary()
    sim.ready()
    compared(sim, 35, *range(5))
    assert sim.rollout.state == "promoted"


def test_one_stall_is_no_reason():
    sim = a_canary(duration_s=60)
    sim.ready()
    compared(sim, 40, 10, 11)
    assert sim.rollout.state == "running"


def test_a_canary_whose_replicas_crash_again_and_again_is_rolled_back():
    sim = a_canary()
    sim.ready()
    sim.look()
    for _ in range(3):
        sim.ends("svm.2.g2.r0")
        sim.step(sim.slots["svm.2.g2.r0"].retry_at_s - sim.now_s + 0.1)
    sim.look()
    assert sim.rollout.state == "rolled_back"
    assert "exited with code 3" in sim.rollout.reason


def test_promoting_a_canary_by_hand_ends_it_in_its_favour():
    sim = a_canary()
    sim.ready()
    sim.look()
    sim.edit(edits.promote, "svm", "2")
    sim.look()
    assert (sim.observed.current, sim.rollout.state, sim.rollout.reason) == ({"svm": "2"}, "promoted", "by hand")


def test_promoting_the_current_version_ends_a_canary_against_it():
    sim = a_canary()
    sim.ready()
    sim.look()
    sim.edit(edits.promote, "svm", "1")
    sim.look()
    assert (sim.observed.current, sim.rollout.state) == ({"svm": "1"}, "ended")
    assert sim.states()["2"] == "draining"


def test_a_version_that_was_rolled_back_can_be_tried_again():
    sim = a_canary()
    sim.edit(edits.promote, "svm", "1")
    sim.look()
    sim.edit(edits.promote, "svm", "2", Canary(share=0.5))
    sim.look()
    assert (sim.desired.models["svm"].canary, sim.rollout.share) == ("2", 0.5)


def test_the_first_version_of_a_model_is_no_canary():
    sim = in_service(Steered(), "1", canary="5%")
    assert sim.observed.current == {"svm": "1"}
    assert sim.desired.models["svm"].canary is None


def test_a_canary_that_crashes_before_anybody_looks_at_it_is_rolled_back():
    sim = a_canary()
    for _ in range(3):
        sim.ready()
        (slot,) = sim.members("2", "ready")
        sim.serves("2", 1, errors=1)
        sim.ends(slot.replica_id)
        sim.look(3)
    assert sim.rollout.state == "rolled_back"
    assert "exited with code 3" in sim.rollout.reason


def test_a_canary_that_never_had_a_query_is_tried_again():
    sim = in_service(Steered(), "1")
    sim.serves("2", 500, errors=500)
    sim.deploy("2", canary=SOON)
    sim.look()
    for _ in range(3):
        for slot in sim.members("2", "starting", "warming"):
            sim.ends(slot.replica_id)
        sim.look(3)
    assert sim.status("2").state == "failed"
    assert sim.rollout.state == "waiting"


def test_a_second_canary_is_refused_with_what_to_do():
    sim = a_canary()
    with pytest.raises(Conflict, match=r"clipper promote svm 2, or clipper rollback svm$"):
        sim.deploy("3", canary="5%")


def test_the_version_with_the_traffic_cannot_be_tried_against_itself():
    sim = in_service(Steered(), "1")
    with pytest.raises(InvalidRequest, match="no other version has the traffic"):
        sim.edit(edits.promote, "svm", "1", Canary(share=0.5))


def test_a_canary_left_without_a_current_version_gets_the_traffic():
    sim = a_canary()
    sim.ready()
    sim.look()
    sim.edit(edits.stop_version, "svm", "1")
    sim.look(2)
    assert sim.observed.current == {"svm": "2"}


def test_figures_of_a_canary_go_into_the_store_seldom():
    sim = a_canary()
    sim.ready()
    seen = set()
    for _ in range(20):
        sim.serves("2", 1)
        sim.look()
        seen.add(sim.rollout.reason)
    assert 2 <= len(seen) <= 5

"""The slot of a container that somebody else runs, while nobody answers at its address. Simulated."""

from dataclasses import replace

from lifecycle_simulation import TIMING, Simulation

from clipper.control import desired as edits
from clipper.control.external import NO_PID, PATIENCE_S, out_of_reach
from clipper.domain import VersionSpec

PROBLEM = "cannot connect to tcp:gpu-1:9000: refused"
SLOT = "far.1.g1.r0"


class Registered(Simulation):
    """One version at an address; each step tells what its link last met with."""

    def __init__(self):
        super().__init__()
        spec = VersionSpec(version="1", input_type="doubles", flavor="external", external={"address": "tcp:gpu-1:9000"})
        self.desired = edits.create_version(self.desired, "far", spec, generation=1, digest=None, manifest={}, now=0.0)
        self.step()
        self.slots[SLOT] = replace(self.slots[SLOT], pid=NO_PID)

    def look(self, after_s, problem=PROBLEM):
        self.now_s += after_s
        self.slots[SLOT] = out_of_reach(self.slots[SLOT], problem, self.now_s)
        return self.step()


def test_it_fails_after_some_patience_and_says_why():
    sim = Registered()
    sim.look(PATIENCE_S / 2)
    assert sim.states("far") == {"1": "starting"}
    sim.look(PATIENCE_S)
    assert sim.states("far") == {"1": "failed"}
    assert sim.status("1", "far").reason == f"{SLOT}: {PROBLEM}"


def test_nothing_is_written_while_it_stays_out_of_reach():
    sim = Registered()
    sim.look(PATIENCE_S)
    first = sim.observed
    for _ in range(5):
        sim.look(1.0)
        assert sim.observed == first


def test_its_time_to_start_is_never_over():
    sim = Registered()
    for _ in range(4):
        sim.look(TIMING.start_timeout_s / 2)
    assert sim.killed == {}


def test_it_is_ready_as_soon_as_it_says_so():
    sim = Registered()
    sim.look(PATIENCE_S)
    sim.ready()
    sim.look(1.0)
    assert sim.states("far") == {"1": "ready"}

"""A host in simulated time: its processes do what `decide` says, and what the test lets happen."""

from clipper.control import desired as edits
from clipper.control.lifecycle import Kill, Start, Stop, Timing, decide
from clipper.control.manager import Exit, Running
from clipper.control.observe import observe
from clipper.control.slots import became_ready, exited, progressed, started
from clipper.domain import Desired, Observed, VersionSpec

TIMING = Timing(drain_s=2.0, start_timeout_s=100.0)


class Simulation:
    """A host whose processes do what they are told, driven step by step."""

    def __init__(self):
        self.desired, self.observed, self.slots, self.now_s = Desired(), Observed(), {}, 1000.0
        self.generation = 0
        self.running = set()
        self.killed = {}
        self.wake_at_s = None

    def deploy(self, version, model="svm", **fields):
        self.generation += 1
        spec = VersionSpec(**{"version": version, "input_type": "doubles", **fields})
        self.desired = edits.create_version(
            self.desired, model, spec, generation=self.generation, digest="d", manifest={}, now=0.0
        )

    def edit(self, function, *args, **kwargs):
        self.desired = function(self.desired, *args, **kwargs)

    def step(self, after_s=0.0):
        self.now_s += after_s
        decision = decide(self.desired, self.observed, self.slots, self.now_s, TIMING)
        self.slots, self.wake_at_s = dict(decision.slots), decision.wake_at_s
        for action in decision.actions:
            self._act(action)
        self.observed = observe(self.desired, self.observed, self.slots, decision.traffic, "host", 1e9 + self.now_s)
        return decision.actions

    def _act(self, action):
        match action:
            case Start(slot, version):
                assert slot.replica_id not in self.running, "one process a slot"
                self.running.add(slot.replica_id)
                running = Running(slot.replica_id, *version.key, version.generation, "unix:/x", 42, 1.0)
                self.slots[slot.replica_id] = started(self.slots[slot.replica_id], running)
            case Stop(replica_id):
                assert replica_id in self.running
            case Kill(replica_id, reason):
                self.killed[replica_id] = reason

    def ready(self, *replica_ids):
        for replica_id in replica_ids or self.running:
            self.slots[replica_id] = became_ready(self.slots[replica_id], 64, self.now_s)
        return self.step()

    def ends(self, replica_id, reason="exited with code 3", draw=0.0):
        self.running.discard(replica_id)
        slot = exited(self.slots.pop(replica_id), Exit(replica_id, reason, "last words"), self.now_s, draw)
        if slot is not None:
            self.slots[replica_id] = slot
        return self.step()

    def fails_to_load(self, replica_id, sentence):
        self.slots[replica_id] = progressed(self.slots[replica_id], "failed", sentence, self.now_s)
        return self.step()

    def status(self, version, model="svm"):
        return self.observed.statuses[model][version]

    def states(self, model="svm"):
        return {name: status.state for name, status in self.observed.statuses[model].items()}


def in_service(sim, *versions, **fields):
    """Deploys the versions one after the other, each until it is ready."""
    for version in versions:
        sim.deploy(version, **fields)
        sim.step()
        sim.ready()
    return sim

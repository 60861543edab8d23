"""Whatever users do and replicas suffer: no process is forgotten, and what runs becomes what is wanted."""

from hypothesis import given, settings
from hypothesis import strategies as st
from lifecycle_simulation import Simulation

from clipper.control import desired as edits
from clipper.control.slots import became_ready, lost, progressed

names = st.sampled_from(["1", "2", "3"])
things_that_happen = st.lists(
    st.one_of(
        st.tuples(st.just("deploy"), names, st.integers(0, 3), st.booleans()),
        st.tuples(st.just("promote"), names),
        st.tuples(st.just("stop"), names),
        st.tuples(st.just("delete"), names),
        st.tuples(st.just("scale"), names, st.integers(0, 3)),
        st.tuples(st.just("ready"), st.integers(0, 20)),
        st.tuples(st.just("ends"), st.integers(0, 20)),
        st.tuples(st.just("lost"), st.integers(0, 20)),
        st.tuples(st.just("unloadable"), st.integers(0, 20)),
        st.tuples(st.just("time"), st.floats(0.01, 200.0)),
    ),
    max_size=60,
)


EDITS = {
    "promote": edits.promote,
    "stop": edits.stop_version,
    "delete": lambda desired, model, version: edits.delete_version(desired, model, version, current={}),
    "scale": lambda desired, model, version, n: edits.patch_version(desired, model, version, {"replicas": n}),
}
EVENTS = {
    "ready": lambda sim, slot: became_ready(slot, 64, sim.now_s),
    "lost": lambda sim, slot: lost(slot, sim.now_s),
    "unloadable": lambda sim, slot: progressed(slot, "failed", "no", sim.now_s),
}


def happen(sim, what, *args):
    if what == "time":
        sim.now_s += args[0]
    elif what == "deploy" and sim.desired.version("svm", args[0]) is None:
        sim.deploy(args[0], replicas=args[1], promote=args[2])
    elif what in EDITS and sim.desired.version("svm", args[0]) is not None:
        sim.edit(EDITS[what], "svm", *args)
    elif what in {"ends", *EVENTS} and sim.running:
        replica_id = sorted(sim.running)[args[0] % len(sim.running)]
        if what == "ends":
            sim.ends(replica_id)
        else:
            sim.slots[replica_id] = EVENTS[what](sim, sim.slots[replica_id])
    sim.step()


@given(things_that_happen)
@settings(max_examples=200, deadline=None)
def test_whatever_happens_what_runs_becomes_what_is_wanted(history):
    sim = Simulation()
    for what, *args in history:
        before = dict(sim.observed.current), {s.key for s in sim.slots.values() if s.phase == "ready"}
        happen(sim, what, *args)
        check_safety(sim, *before)
    settle(sim)
    check_convergence(sim)


def check_safety(sim, current_before, ready_before):
    assert sim.running == {s.replica_id for s in sim.slots.values() if s.phase != "waiting"}, "no process is forgotten"
    current = sim.observed.current.get("svm")
    if current is not None and current != current_before.get("svm"):
        version = sim.desired.version("svm", current)
        now_ready = {s.key for s in sim.slots.values() if s.phase == "ready"}
        assert (*version.key, version.generation) in ready_before | now_ready, "traffic moves to ready versions only"
    assert sim.step() == (), "a step leaves nothing to do at once"


def settle(sim):
    """Everything that starts becomes ready, everything that is told to end does."""
    for _ in range(40):
        for replica_id in tuple(sim.running):
            slot = sim.slots[replica_id]
            if slot.phase in {"stopping", "failed"}:
                sim.ends(replica_id)
            elif slot.phase in {"starting", "warming"}:
                sim.slots[replica_id] = became_ready(slot, 64, sim.now_s)
        sim.step()
        if sim.wake_at_s is not None:
            sim.step(sim.wake_at_s - sim.now_s)


def check_convergence(sim):
    versions = sim.desired.versions.get("svm", {})
    model = sim.desired.models.get("svm")
    for name, version in versions.items():
        ready = [slot for slot in sim.slots.values() if slot.key == (*version.key, version.generation)]
        state = sim.status(name).state
        assert state in {"ready", "stopped"}
        assert len(ready) == (version.spec.replicas if state == "ready" else 0)
        assert version.wanted or state == "stopped"
    assert len(sim.slots) == len(sim.running)
    generations = {version.generation for version in versions.values()}
    assert {slot.generation for slot in sim.slots.values()} <= generations
    if model is not None and model.target is not None and versions[model.target].spec.replicas:
        assert sim.observed.current == {"svm": model.target}
    warm = [name for name, version in versions.items() if sim.status(name).state == "ready" and version.spec.promote]
    assert len(warm) <= 2 + (model.keep_warm if model else 0)

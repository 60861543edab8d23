import gc
import tracemalloc

import pytest
from abstraction_fakes import VirtualTimers

from clipper.engine.contexts import PRIOR_REFRESH_S, Contexts
from clipper.engine.held import HeldEvidence
from clipper.evidence import Evidence
from clipper.selection import policy_named

APP = ("digits", 3)


class Asked:
    """The policy, and how often it was asked for a distribution."""

    def __init__(self, policy):
        self._policy = policy
        self.times = 0

    def __getattr__(self, name):
        return getattr(self._policy, name)

    def distribution(self, arms, state):
        self.times += 1
        return self._policy.distribution(arms, state)


class World:
    def __init__(self, policy="exp3", arms=("a", "b"), max_user_bytes=1 << 20, **options):
        self.timers = VirtualTimers()
        self.held = HeldEvidence(max_user_bytes)
        self.policy = Asked(policy_named(policy, options))
        self.contexts = Contexts(APP, self.policy, arms, self.held, self.timers.now)

    def learn(self, uid="", **losses):
        self.contexts.put((*APP, uid), evidence(**losses))

    def known(self, uid):
        self.held.put_unknown([(*APP, uid)])


def evidence(n=None, **losses):
    sums = {
        arm: {"eligible": float(plays), "plays": float(plays), "loss": loss * plays, "weighted_loss": loss * plays}
        for arm, (plays, loss) in losses.items()
    }
    return Evidence(n=n or max(plays for plays, _ in losses.values()), sums=sums)


def test_without_feedback_all_arms_are_alike():
    assert World().contexts.shared().probabilities == (0.5, 0.5)


def test_the_policy_is_asked_once_for_what_is_known():
    world = World()
    for _ in range(3):
        world.contexts.shared()
    assert world.policy.times == 1
    world.learn(a=(50, 0.9), b=(50, 0.1))
    assert world.contexts.shared().weights["b"] > 0.6
    world.contexts.shared()
    assert world.policy.times == 2


def test_evidence_that_comes_late_does_not_undo_newer_one():
    world = World()
    world.learn(a=(50, 0.9), b=(50, 0.1))
    world.learn("u", a=(9, 0.1), b=(9, 0.9))
    newer = world.contexts.shared(), world.contexts.distribution("u")
    world.learn(a=(49, 0.1), b=(49, 0.9))
    world.learn("u", a=(8, 0.9), b=(8, 0.1))
    assert (world.contexts.shared(), world.contexts.distribution("u")) == newer


def test_a_user_that_is_not_held_is_not_guessed():
    world = World()
    assert world.contexts.distribution("u") is None
    world.known("u")
    assert world.contexts.distribution("u") is world.contexts.shared()


def test_a_user_begins_with_everybodys_evidence_and_soon_outvotes_it():
    world = World(half_life_feedbacks=None)
    world.learn(a=(10_000, 0.0), b=(10_000, 1.0))
    world.learn("u", a=(1, 1.0), b=(1, 0.0))
    first = world.contexts.distribution("u").weights["a"]
    assert first > 0.5
    world.learn("u", a=(60, 1.0), b=(60, 0.0))
    assert world.contexts.distribution("u").weights["a"] < 0.5


def test_a_users_distribution_is_kept_until_something_changes():
    world = World()
    world.learn(a=(5, 0.9), b=(5, 0.1))
    world.learn("u", a=(5, 0.9), b=(5, 0.1))
    first = world.contexts.distribution("u")
    assert world.contexts.distribution("u") is first
    world.learn("u", a=(6, 0.9), b=(6, 0.1))
    assert world.contexts.distribution("u") is not first


def test_everybodys_news_reach_a_user_within_a_moment_but_not_with_each_piece():
    world = World()
    world.learn(a=(5, 0.9), b=(5, 0.1))
    world.learn("u", a=(5, 0.9), b=(5, 0.1))
    first = world.contexts.distribution("u")
    world.learn(a=(500, 0.1), b=(500, 0.9))
    assert world.contexts.distribution("u") is first
    world.timers.advance(PRIOR_REFRESH_S)
    assert world.contexts.distribution("u").weights["a"] > first.weights["a"]


def test_other_arms_make_other_distributions():
    world = World()
    world.learn("u", a=(5, 0.9), b=(5, 0.1))
    world.contexts.shared(), world.contexts.distribution("u")
    world.contexts.arms = ("a", "b", "c")
    assert len(world.contexts.shared().arms) == len(world.contexts.distribution("u").arms) == 3


def test_a_policy_whose_choice_is_a_users_to_keep_knows_no_contexts():
    world = World("ab")
    assert world.contexts.distribution("u") is world.contexts.shared()


def test_users_leave_least_recently_used_first():
    world = World(max_user_bytes=20_000)
    for i in range(100):
        world.learn(f"u{i}", a=(5, 0.5))
        world.contexts.distribution("u0")
    assert world.held.user_bytes <= 20_000
    assert world.contexts.distribution("u0") is not None
    assert world.contexts.distribution("u1") is None
    assert world.contexts.distribution("u99") is not None


def test_beginning_anew_forgets_everybody():
    world = World()
    world.learn(a=(5, 0.9), b=(5, 0.1))
    world.learn("u", a=(5, 0.9))
    world.held.replace({(*APP, ""): evidence(n=2, a=(2, 0.0), b=(2, 1.0))}, [APP])
    assert world.contexts.shared().weights["a"] > 0.5
    assert world.contexts.distribution("u") is None
    assert world.held.user_bytes == 0


def test_only_what_is_held_is_worth_reading_again():
    world = World()
    world.known("u")
    changed = {(*APP, ""), (*APP, "u"), (*APP, "v"), ("other", 1, "")}
    assert sorted(world.held.held_of(changed)) == [(*APP, ""), (*APP, "u")]


@pytest.mark.parametrize("arms", [("a",), tuple("abcdefgh")])
def test_the_bytes_that_are_counted_are_those_that_are_taken(arms):
    world = World(arms=arms, max_user_bytes=1 << 30)
    gc.collect()
    tracemalloc.start()
    for i in range(1000):
        world.learn(f"user-{i:032}", **dict.fromkeys(arms, (5, 0.5)))
        world.contexts.distribution(f"user-{i:032}")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.6 * world.held.user_bytes < taken < 1.1 * world.held.user_bytes

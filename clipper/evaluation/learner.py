"""What a policy would have learnt from the log, had it chosen."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from clipper.evaluation.event import Event
from clipper.evidence import Change, Evidence, State
from clipper.selection import Observation, Policy
from clipper.selection.learning import state_of_user

MAX_USERS = 100_000
"""Users whose own evidence is held at a time; one who was not heard of for longest starts anew from everybody's."""


class Learner:
    """The evidence of a policy that the log is shown to, as it would have gathered it by its own choices.

    Where all models were asked, one is drawn as the policy would have, and only its loss is learnt: exactly what would
    have happened. Where the log has one choice of another policy, the change is counted pi / p times, with pi the
    policy's own probability of that choice and p the logged one. As the sums are additive, they are in expectation
    those of the policy's own choices, at each step and with forgetting at its own pace. They are noisier than those,
    by as much as the two policies differ; a policy that takes the number of its observations for certainty (`ucb1`,
    `thompson`) is a little too sure then. Rejection (Li, Chu, Langford and Wang, WSDM 2011; Dudik, Erhan, Langford and
    Li, UAI 2012) has the right noise, but keeps only the feedbacks on which both agree: the policy would be judged by
    how it does with a small part of them, and users with few feedbacks would hardly be known.
    """

    def __init__(self, policy: Policy, draw: Callable[[], float], max_users: int = MAX_USERS) -> None:
        self._policy = policy
        self._draw = draw
        self._shared = Evidence()
        self._users: OrderedDict[str, Evidence] = OrderedDict()
        self._max_users = max_users

    def probabilities(self, event: Event) -> dict[str, float]:
        """Of each arm, as the policy would have chosen then."""
        said = self._policy.distribution(event.arms, self._state(event.uid))
        return dict(zip(event.arms, said, strict=True))

    def learn(self, event: Event, probabilities: Mapping[str, float]) -> None:
        """Take notice of a feedback that came after a choice with those probabilities."""
        observation, times = self._seen(event, probabilities)
        change = _scaled(self._policy.observe(observation), times)
        self._shared.add(change, self._policy.half_life_feedbacks)
        if event.uid is not None:
            self._of_user(event.uid).add(change, self._policy.half_life_feedbacks)

    def _seen(self, event: Event, probabilities: Mapping[str, float]) -> tuple[Observation, float]:
        """What the policy would have seen, and how often that counts."""
        arms = event.arms
        if self._policy.is_ensemble or event.informs_all:
            times = sum(1.0 / event.propensities[arm] for arm in event.losses) if event.drawn else 1.0
            return Observation(arms, event.losses, dict.fromkeys(event.losses, 1.0)), times
        if not event.drawn:
            arm = _drawn(arms, probabilities, self._draw())
            losses = {arm: event.losses[arm]} if arm in event.losses else {}
            return Observation(arms, losses, {a: probabilities[a] for a in losses}), 1.0
        chosen = {arm: probabilities[arm] for arm in event.losses if probabilities[arm] > 0.0}
        times = sum(p / event.propensities[arm] for arm, p in chosen.items())
        return Observation(arms, {arm: event.losses[arm] for arm in chosen}, chosen), times

    def _state(self, uid: str | None) -> State:
        shared = self._shared.present()
        if uid is None:
            return shared
        return state_of_user(self._of_user(uid).present(), shared, self._policy.prior_feedbacks)

    def _of_user(self, uid: str) -> Evidence:
        evidence = self._users.get(uid)
        if evidence is None:
            evidence = self._users[uid] = Evidence()
            if len(self._users) > self._max_users:
                self._users.popitem(last=False)
        self._users.move_to_end(uid)
        return evidence


def _drawn(arms: Sequence[str], probabilities: Mapping[str, float], point: float) -> str:
    for arm in arms:
        point -= probabilities[arm]
        if point < 0.0:
            return arm
    return max(arms, key=probabilities.__getitem__)


def _scaled(change: Change, times: float) -> Change:
    if times == 1.0:
        return change
    return {arm: {name: value * times for name, value in sums.items()} for arm, sums in change.items()}

"""The paper's setting: five models of different quality, of which the best one is corrupted for a while and then heals.

One trial asks the served selection code (`clipper.selection`, `clipper.evidence`, and the draw of `clipper.engine`)
20,000 queries; feedback comes at once or late.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipper.engine.distribution import distribution_of
from clipper.evidence import Change, Evidence
from clipper.selection import Loss, Observation, Policy

ACCURACIES = (0.7575, 0.654, 0.832, 0.54, 0.9085)
ARMS = tuple(f"model-{index + 1}" for index in range(len(ACCURACIES)))
BEST = 4
BEST_ERROR = 1.0 - ACCURACIES[BEST]
QUERIES = 20_000
CORRUPTED_FROM, HEALED_FROM = 5_000, 10_000
CLASSES = 10
LOSS = Loss()

Errors = NDArray[np.float64]
"""For each query 1 where the answer was wrong, else 0."""


class Trial(NamedTuple):
    """What happens in one trial, whichever policy chooses: labels, outputs (query, model), and the engine's draws."""

    labels: NDArray[np.int64]
    outputs: NDArray[np.int64]
    draws: NDArray[np.float64]

    @property
    def wrong(self) -> NDArray[np.float64]:
        """(query, model): 1 where the model errs."""
        return (self.outputs != self.labels[:, None]).astype(np.float64)


def make_trial(seed: int) -> Trial:
    """Models err independently of each other, and a wrong label is any of the other classes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, QUERIES)
    right = random.random((QUERIES, len(ARMS))) < ACCURACIES
    right[CORRUPTED_FROM:HEALED_FROM, BEST] = False
    wrong = (labels[:, None] + random.integers(1, CLASSES, right.shape)) % CLASSES
    return Trial(labels, np.where(right, labels[:, None], wrong), random.random(QUERIES))


def serve(policy: Policy, trial: Trial, late_by: int = 0) -> Errors:
    """Answer every query of the trial; feedback on each arrives ``late_by`` queries later."""
    evidence = Evidence()
    feedback: deque[Change] = deque()
    errors = np.zeros(QUERIES)
    answer = _ensemble if policy.is_ensemble else _bandit
    for query in range(QUERIES):
        outputs = dict(zip(ARMS, trial.outputs[query].tolist(), strict=True))
        label = int(trial.labels[query])
        output, observation = answer(policy, evidence, outputs, label, float(trial.draws[query]))
        errors[query] = output != label
        feedback.append(policy.observe(observation))
        if len(feedback) > late_by:
            evidence.add(feedback.popleft(), policy.half_life_feedbacks)
    return errors


def _bandit(
    policy: Policy, evidence: Evidence, outputs: dict[str, int], label: int, point: float
) -> tuple[int, Observation]:
    distribution = distribution_of(policy, ARMS, evidence.present())
    arm = ARMS[distribution.draw(point)]
    losses = LOSS.of_all({arm: outputs[arm]}, label)
    return outputs[arm], Observation(ARMS, losses, {arm: distribution.weights[arm]})


def _ensemble(
    policy: Policy, evidence: Evidence, outputs: dict[str, int], label: int, _point: float
) -> tuple[int, Observation]:
    distribution = distribution_of(policy, ARMS, evidence.present())
    output, _ = policy.combine(outputs, distribution.weights, LOSS)
    return output, Observation(ARMS, LOSS.of_all(outputs, label), dict.fromkeys(ARMS, 1.0))

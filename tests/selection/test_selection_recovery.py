"""The defaults find the way around a model that breaks, and back to it when it heals; with late feedback, too."""

import sys
from pathlib import Path

import numpy as np
import pytest

from clipper.selection import policy_named

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")
TRIALS = 4
NOISE = 0.01
"""Three deviations of a mean over as few trials as a test can afford; the benchmark has 50, and needs no allowance."""


@pytest.fixture(scope="module")
def setting():
    sys.path.insert(0, BENCHMARKS)
    try:
        import failing_model  # noqa: PLC0415  # a script's part, not a package
    finally:
        sys.path.remove(BENCHMARKS)
    return failing_model


@pytest.mark.parametrize("late_by", [0, 200])
@pytest.mark.parametrize("name", ["exp3", "exp4"])
def test_they_beat_every_single_model_and_are_back_2000_queries_after_the_best_one_heals(setting, name, late_by):
    trials = [setting.make_trial(seed) for seed in range(TRIALS)]
    errors = np.stack([setting.serve(policy_named(name, {}), trial, late_by) for trial in trials])
    alone = np.mean([trial.wrong.mean(axis=0) for trial in trials], axis=0)
    assert errors.mean() < alone.min() - 0.01
    back = setting.HEALED_FROM + 2_000
    assert errors[:, back : back + 1_000].mean() <= setting.BEST_ERROR + 0.02 + NOISE
    before_it_broke = errors[:, 2_000 : setting.CORRUPTED_FROM].mean()
    assert errors[:, back:].mean() == pytest.approx(before_it_broke, abs=0.02)


def test_without_forgetting_exp4_never_finds_the_healed_model_again(setting):
    policy = policy_named("exp4", {"eta": 0.2, "half_life_feedbacks": None})
    errors = setting.serve(policy, setting.make_trial(0))
    assert errors[setting.HEALED_FROM :].mean() > setting.BEST_ERROR + 0.05

"""What a user's own feedback is worth: 168 users, each of whom writes digits at a slant of their own.

Eight models have each learnt digits at one slant; users' slants lie anywhere between, so that the best model differs
from user to user. A policy first gets thousands of feedbacks from everybody, which is a strong prior and of little use
to anyone. Then every user tells what was right, again and again; the error of the answers is shown by the number of
feedbacks that the user had given before. Beside it: the same without telling users apart, and a user's own
evidence drowned in everybody's (no cap on the prior), which is why there is a cap. The policies are the served ones.
Run: `python benchmarks/contexts.py [--quick]`.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from picture import panels, save_picture
from rich.console import Console
from scipy.ndimage import rotate
from selection_loop import SelectionLoop
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from table import console, grid, provenance, save

from clipper.selection import Loss, policy_named

USERS = 168
MODELS = 8
LARGEST_SLANT_DEGREES = 35.0
PRIOR_FEEDBACKS = 10_000
FEEDBACKS_OF_A_USER = 16
SHOWN = (0, 1, 2, 4, 8, 16)
TRIALS = 6
QUICK_TRIALS = 1
PROBES = 10
"""Queries to each user at each point; what was right is not told."""
NO_CAP = 1e9
POLICIES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "exp4": ("exp4", {}),
    "exp3": ("exp3", {}),
    "thompson": ("thompson", {}),
    "exp4, prior not capped": ("exp4", {"prior_feedbacks": NO_CAP}),
}
WITHOUT_CONTEXT = "exp4, users not told apart"
SIDE = 8


class World:
    """What each model says about each digit at each of some slants, worked out once."""

    def __init__(self, seed: int) -> None:
        images, self.labels = load_digits(return_X_y=True)
        self._random = np.random.default_rng(seed)
        order = self._random.permutation(len(images))
        train, self.asked = order[: len(order) // 2], order[len(order) // 2 :]
        learnt = np.linspace(-LARGEST_SLANT_DEGREES, LARGEST_SLANT_DEGREES, MODELS)
        self.slants = np.linspace(-LARGEST_SLANT_DEGREES, LARGEST_SLANT_DEGREES, 4 * MODELS + 1)
        models = [SVC(gamma=0.001).fit(slanted(images[train], slant), self.labels[train]) for slant in learnt]
        self._said = [
            np.array([model.predict(slanted(images[self.asked], slant)) for model in models]) for slant in self.slants
        ]
        self.names = tuple(f"{slant:+.0f}°" for slant in learnt)

    def query(self, slant: int) -> tuple[dict[str, int], int]:
        """The outputs of all models for a digit at that slant, and the digit."""
        index = int(self._random.integers(len(self.asked)))
        outputs = dict(zip(self.names, self._said[slant][:, index].tolist(), strict=True))
        return outputs, int(self.labels[self.asked[index]])

    def any_slant(self) -> int:
        """Of somebody."""
        return int(self._random.integers(len(self.slants)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_TRIALS} trial: a look, not a figure")
    quick = parser.parse_args().quick
    out = console()
    trials = [_trial(seed) for seed in range(QUICK_TRIALS if quick else TRIALS)]
    curves = {name: np.mean([trial[name] for trial in trials], axis=0).tolist() for name in trials[0]}
    results = {
        **provenance(),
        "trials": len(trials),
        "users": USERS,
        "models": MODELS,
        "prior_feedbacks": PRIOR_FEEDBACKS,
        "error_by_own_feedbacks": curves,
    }
    name = "contexts-quick" if quick else "contexts"
    show(out, results)
    out.print(f"Written to {save(name, results)} and {_draw(name, curves)}")


def slanted(images: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """The images, turned."""
    pictures = images.reshape(-1, SIDE, SIDE)
    return rotate(pictures, degrees, axes=(1, 2), reshape=False, order=1).reshape(len(images), -1)


def _trial(seed: int) -> dict[str, list[float]]:
    world = World(seed)
    curves = {name: _curve(world, policy, options, seed) for name, (policy, options) in POLICIES.items()}
    policy, options = POLICIES["exp4"]
    curves[WITHOUT_CONTEXT] = _curve(world, policy, options, seed, with_uid=False)
    curves["the best model of each user"] = [_best_of_each(world)] * (FEEDBACKS_OF_A_USER + 1)
    return curves


def _curve(world: World, policy: str, options: Mapping[str, Any], seed: int, *, with_uid: bool = True) -> list[float]:
    """The error of answers to users who have given 0, 1, 2, ... feedbacks before."""
    loop = SelectionLoop(policy_named(policy, options), world.names, Loss(), seed)
    for _ in range(PRIOR_FEEDBACKS):
        _tell(loop, world, world.any_slant(), None)
    users = {f"user-{number}": world.any_slant() for number in range(USERS)}
    curve = []
    for _ in range(FEEDBACKS_OF_A_USER + 1):
        curve.append(_error(loop, world, users, with_uid=with_uid))
        for uid, slant in users.items():
            _tell(loop, world, slant, uid if with_uid else None)
    return curve


def _error(loop: SelectionLoop, world: World, users: Mapping[str, int], *, with_uid: bool) -> float:
    """Of answers to all users, without telling what was right."""
    wrong = 0
    for uid, slant in users.items():
        for _ in range(PROBES):
            outputs, label = world.query(slant)
            answer, _ = loop.answer(outputs, uid if with_uid else None)
            wrong += answer != label
    return wrong / (PROBES * len(users))


def _tell(loop: SelectionLoop, world: World, slant: int, uid: str | None) -> None:
    """One query with its feedback."""
    outputs, label = world.query(slant)
    _, propensities = loop.answer(outputs, uid)
    loop.learn(outputs, propensities, label, uid)


def _best_of_each(world: World) -> float:
    labels = world.labels[world.asked]
    return float(np.mean([min((said != labels).mean(axis=1)) for said in world._said]))  # noqa: SLF001  # its own file


def show(out: Console, results: Mapping[str, Any]) -> None:
    out.print(f"\n{results['date']}, {results['machine']}, Python {results['python']}\n{results['command']}")
    rows = [
        [name, *(f"{curve[count]:.1%}" for count in SHOWN)] for name, curve in results["error_by_own_feedbacks"].items()
    ]
    title = f"Error by feedbacks of the user's own; {USERS} users, {results['trials']} trials"
    out.print(grid(title, ("policy", *(str(count) for count in SHOWN)), rows))


def _draw(name: str, curves: Mapping[str, Sequence[float]]) -> str:
    figure, (axes,) = panels()
    for label, curve in curves.items():
        style = {"color": "gray", "linestyle": ":"} if label.startswith("the best") else {}
        axes.plot(range(len(curve)), [100 * error for error in curve], label=label, **style)
    axes.set(xlabel="feedbacks of the user's own", ylabel="error, %", ylim=(0, None))
    axes.legend(frameon=False, fontsize="small")
    return str(save_picture(name, figure))


if __name__ == "__main__":
    main()

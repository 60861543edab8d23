"""What an ensemble is worth on real digits: its error beside the best single model's, and where all models agree.

Five models of different kinds, none much better than the others, are trained on one half of scikit-learn's digits and
asked about the other half, in an order of its own for each trial; feedback follows every answer. The policies are the
served ones. Run: `python benchmarks/ensembles.py [--quick]`.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from picture import panels, save_picture
from rich.console import Console
from selection_loop import SelectionLoop
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from table import console, grid, provenance, save

from clipper.selection import Loss, policy_named

TRIALS = 30
QUICK_TRIALS = 3
POLICIES = ("exp4", "majority", "exp3")
AGREEMENT_OF = "exp4"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_TRIALS} trials: a look, not a figure")
    quick = parser.parse_args().quick
    out = console()
    trials = [_trial(seed) for seed in range(QUICK_TRIALS if quick else TRIALS)]
    results = {**provenance(), "trials": len(trials), **_summary(trials)}
    name = "ensembles-quick" if quick else "ensembles"
    show(out, results)
    out.print(f"Written to {save(name, results)} and {_draw(name, results)}")


def _estimators(seed: int) -> dict[str, ClassifierMixin]:
    network = MLPClassifier((64,), max_iter=400, early_stopping=False, random_state=seed)
    return {
        "cubic SVM": SVC(kernel="poly", degree=3, gamma=0.001, coef0=1),
        "3 neighbours": KNeighborsClassifier(3),
        "quadratic": make_pipeline(PCA(20), QuadraticDiscriminantAnalysis(reg_param=0.1)),
        "100 trees": ExtraTreesClassifier(100, random_state=seed),
        "network": make_pipeline(StandardScaler(with_std=False), network),
    }


def _trial(seed: int) -> dict[str, Any]:
    images, labels = load_digits(return_X_y=True)
    train, held_out, train_labels, held_out_labels = train_test_split(
        images, labels, test_size=0.5, random_state=seed, stratify=labels
    )
    outputs = {
        name: estimator.fit(train, train_labels).predict(held_out).tolist()
        for name, estimator in _estimators(seed).items()
    }
    wrong = {name: np.array(said) != held_out_labels for name, said in outputs.items()}
    wrong |= {policy: _run(policy, outputs, held_out_labels.tolist(), seed) for policy in POLICIES}
    same = np.array([len(set(said)) == 1 for said in zip(*outputs.values(), strict=True)])
    return {
        "errors": {name: float(mistakes.mean()) for name, mistakes in wrong.items()},
        "agreed": float(same.mean()),
        "wrong_where_agreed": int(wrong[AGREEMENT_OF][same].sum()),
        "wrong_elsewhere": int(wrong[AGREEMENT_OF][~same].sum()),
        "agreed_queries": int(same.sum()),
        "other_queries": int((~same).sum()),
    }


def _run(policy: str, outputs: Mapping[str, Sequence[int]], labels: Sequence[int], seed: int) -> NDArray[np.bool_]:
    loop = SelectionLoop(policy_named(policy, {}), tuple(outputs), Loss(), seed)
    mistakes = []
    for label, said in zip(labels, zip(*outputs.values(), strict=True), strict=True):
        one_query = dict(zip(outputs, said, strict=True))
        answer, propensities = loop.answer(one_query)
        mistakes.append(answer != label)
        loop.learn(one_query, propensities, label)
    return np.array(mistakes)


def _summary(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = trials[0]["errors"]
    errors = {name: [trial["errors"][name] for trial in trials] for name in names}
    singles = [name for name in names if name not in POLICIES]
    best = min(singles, key=lambda name: np.mean(errors[name]))
    total = {key: sum(trial[key] for trial in trials) for key in trials[0] if key != "errors"}
    return {
        "errors": {
            name: {"mean": float(np.mean(e)), "standard_error": _standard_error(e)} for name, e in errors.items()
        },
        "best_single": best,
        "beats_best_single": {
            policy: {
                "by": float(np.mean(np.subtract(errors[best], errors[policy]))),
                "standard_error": _standard_error(np.subtract(errors[best], errors[policy])),
            }
            for policy in POLICIES
        },
        "agreed": total["agreed_queries"] / (total["agreed_queries"] + total["other_queries"]),
        "error_where_agreed": total["wrong_where_agreed"] / total["agreed_queries"],
        "error_elsewhere": total["wrong_elsewhere"] / total["other_queries"],
    }


def _standard_error(values: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def show(out: Console, results: Mapping[str, Any]) -> None:
    out.print(f"\n{results['date']}, {results['machine']}, Python {results['python']}\n{results['command']}")
    ordered = sorted(results["errors"].items(), key=lambda item: item[1]["mean"])
    rows = [[name, f"{it['mean']:.2%}", f"{it['standard_error']:.2%}"] for name, it in ordered]
    out.print(grid(f"Digits, {results['trials']} trials", ("model or policy", "error", "standard error"), rows))
    for policy, it in results["beats_best_single"].items():
        out.print(
            f"{policy} against {results['best_single']}: {-it['by']:+.2%} (standard error {it['standard_error']:.2%})"
        )
    ratio = results["error_elsewhere"] / max(results["error_where_agreed"], 1e-9)
    out.print(
        f"All models agree on {results['agreed']:.1%} of the queries: error of {AGREEMENT_OF} "
        f"{results['error_where_agreed']:.2%} there, {results['error_elsewhere']:.1%} elsewhere: {ratio:.0f} x as much."
    )


def _draw(name: str, results: Mapping[str, Any]) -> str:
    figure, (errors, agreement) = panels(2)
    ordered = sorted(results["errors"].items(), key=lambda item: -item[1]["mean"])
    colours = ["tab:blue" if policy in POLICIES else "tab:gray" for policy, _ in ordered]
    errors.barh(
        [label for label, _ in ordered],
        [100 * it["mean"] for _, it in ordered],
        xerr=[100 * it["standard_error"] for _, it in ordered],
        color=colours,
    )
    errors.set(xlabel="error, %", title="Models and policies")
    shares = [results["agreed"], 1 - results["agreed"]]
    agreement.bar(
        [f"all agree\n({shares[0]:.0%} of queries)", f"the rest\n({shares[1]:.0%})"],
        [100 * results["error_where_agreed"], 100 * results["error_elsewhere"]],
        color="tab:blue",
    )
    agreement.set(ylabel="error, %", title=f"{AGREEMENT_OF}, by agreement")
    return str(save_picture(name, figure))


if __name__ == "__main__":
    main()

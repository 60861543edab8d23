"""The data and the models of the demo: scikit-learn's handwritten digits, and models that read them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

SEED = 7
MAX_PIXEL = 16.0
NOISE_PIXELS = 0.5

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]


ESTIMATORS: Mapping[str, ClassifierMixin] = {
    "decision tree": DecisionTreeClassifier(max_depth=5, random_state=SEED),
    "naive Bayes": GaussianNB(),
    "nearest neighbours": KNeighborsClassifier(n_neighbors=50),
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
    "support vector machine": SVC(gamma=0.001),
}


class Digits(NamedTuple):
    """8 x 8 images as rows of 64 doubles, and the digit on each. Nothing is trained on the held-out half."""

    train: Rows
    train_labels: Labels
    held_out: Rows
    held_out_labels: Labels


class Trained(NamedTuple):
    """A fitted model and its share of right answers on the held-out digits."""

    name: str
    estimator: ClassifierMixin
    accuracy: float


def load() -> Digits:
    """The digits, one half to train on and one half to ask about."""
    images, labels = load_digits(return_X_y=True)
    train, held_out, train_labels, held_out_labels = train_test_split(
        images, labels, test_size=0.5, random_state=SEED, stratify=labels
    )
    return Digits(train, train_labels, held_out, held_out_labels)


def train(digits: Digits, names: Sequence[str]) -> list[Trained]:
    """The models of these names, the worst first."""
    trained = []
    for name in names:
        estimator = clone(ESTIMATORS[name])
        estimator.fit(digits.train, digits.train_labels)
        trained.append(Trained(name, estimator, float(estimator.score(digits.held_out, digits.held_out_labels))))
    return sorted(trained, key=lambda t: t.accuracy)


def queries(digits: Digits, count: int, *, repeated: bool = True) -> tuple[Rows, Labels]:
    """``count`` held-out digits with their labels.

    Every second one has a little noise of the camera, so that it was never asked before; the others repeat, as queries
    do, and are what the prediction cache is for. With ``repeated`` false all of them have noise.
    """
    random = np.random.default_rng(SEED)
    chosen = random.integers(0, len(digits.held_out), count)
    rows = digits.held_out[chosen]
    noisy = np.clip(rows + random.normal(0, NOISE_PIXELS, rows.shape), 0, MAX_PIXEL).round(2)
    if repeated:
        noisy[1::2] = rows[1::2]
    return noisy, digits.held_out_labels[chosen]

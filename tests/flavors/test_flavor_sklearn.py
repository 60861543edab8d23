"""Estimators of scikit-learn, and of those who have its interface."""

import pickle

import joblib
import numpy as np
import pytest
from flavor_harness import needs
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

X = np.random.default_rng(0).normal(size=(60, 4))
Y = (X.sum(1) > 0).astype(int)
SCALED = ColumnTransformer([("a", StandardScaler(), [0, 1]), ("b", MinMaxScaler(), [2, 3])])


@pytest.mark.parametrize(
    ("model", "method", "kind"),
    [
        (make_pipeline(SCALED, LogisticRegression()).fit(X, Y), "predict", "label"),
        (make_pipeline(SCALED, LogisticRegression()).fit(X, Y), "predict_proba", "scores"),
        (RandomForestClassifier(5).fit(X, np.where(Y, "good", "bad")), "predict", "label"),
        (LinearRegression().fit(X, X.sum(1)), "predict", "number"),
    ],
)
@pytest.mark.parametrize("saved", [None, "pickle", "joblib"])
async def test_an_estimator_answers_as_itself(serve, tmp_path, model, method, kind, saved):
    handed_over = model
    if saved == "pickle":
        handed_over = tmp_path / "model.pkl"
        handed_over.write_bytes(pickle.dumps(model))
    elif saved == "joblib":
        handed_over = tmp_path / "model.joblib"
        joblib.dump(model, handed_over)
    served = serve(handed_over, method=method)
    assert served.manifest["flavor"] == "sklearn"
    # In a file of joblib's the version may stand behind arrays that cannot be read past.
    assert saved == "joblib" or served.manifest["framework"].startswith("scikit-learn 1.")
    assert saved or served.manifest["output_kind"] == kind
    assert (await served.ready()).input_width == 4
    expected = getattr(model, method)(X[:5]).tolist()
    answers = await served.ask(*X[:5])
    assert answers == expected if kind == "label" else np.array(answers) == pytest.approx(np.array(expected))


@needs("lightgbm")
@pytest.mark.filterwarnings("ignore")
async def test_a_model_of_lightgbm_is_an_estimator_like_any_other(serve, tmp_path):
    from lightgbm import LGBMClassifier  # noqa: PLC0415 (slow, and not everywhere)

    model = LGBMClassifier(n_estimators=5, min_child_samples=2, verbose=-1).fit(X, Y)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    for handed_over in (model, tmp_path / "model.pkl"):
        served = serve(handed_over, method="predict_proba")
        assert served.manifest["flavor"] == "sklearn"
        await served.ready()
        assert np.array(await served.ask(*X[:5])) == pytest.approx(model.predict_proba(X[:5]))

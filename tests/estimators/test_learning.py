import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from boltzspike.errors import ValidationError
from boltzspike.estimators import BoltzspikeClassifier, BoltzspikeRBM


@parametrize_with_checks(
    [
        BoltzspikeRBM(4, epochs=3, random_state=0),
        BoltzspikeClassifier(4, epochs=3, duration=200.0, chains=4, random_state=0),
    ]
)
@pytest.mark.filterwarnings("ignore")
def test_the_estimators_keep_scikit_learns_conventions(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(n_class=4, return_X_y=True)
    return X[:400], y[:400], X[400:430], y[400:430]


@pytest.fixture(scope="module")
def fitted(digits):
    return BoltzspikeClassifier(32, threshold=7.5, epochs=60, random_state=1).fit(*digits[:2])


def test_spiking_neurons_and_gibbs_sampling_name_the_same_classes(digits, fitted):
    X, y = digits[2:]
    by_gibbs = fitted.predict_proba(X)
    fitted.set_params(engine="lif")
    by_lif = fitted.predict_proba(X)
    fitted.set_params(engine="gibbs")
    assert np.mean(fitted.classes_[by_gibbs.argmax(axis=1)] == y) > 0.85
    assert np.mean(by_gibbs.argmax(axis=1) == by_lif.argmax(axis=1)) > 0.85
    np.testing.assert_allclose(by_lif.sum(axis=1), 1)


def test_the_same_random_state_gives_the_same_model(digits):
    X, y = digits[:2]
    first, second, other = (
        BoltzspikeClassifier(5, epochs=2, random_state=seed).fit(X, y).machine_ for seed in (3, 3, 4)
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("options", [{"optimizer": "adam"}, {"momentum": 0.9}])
def test_optimizer_and_momentum_reach_the_training(digits, options):
    X, y = digits[:2]
    plain, other = (
        BoltzspikeClassifier(5, epochs=2, random_state=3, **o).fit(X, y).machine_ for o in ({}, options)
    )
    assert plain != other
    with pytest.raises(ValidationError, match="Settings.optimizer"):
        BoltzspikeRBM(5, optimizer="newton").fit(X)


def test_a_machine_is_trained_by_spiking_neurons_on_request(digits):
    X = digits[0][:60]
    rbm = BoltzspikeRBM(4, train_engine="lif", engine="lif", threshold=7.5, epochs=1, chains=4, random_state=0)
    hidden = rbm.set_params(duration=300.0).fit(X).transform(X[:3])
    assert hidden.shape == (3, 4)
    assert ((hidden >= 0) & (hidden <= 1)).all()
    assert rbm.sample(5).shape == (5, 64)


def test_transform_gibbs_and_scores_work_in_a_pipeline(digits):
    X, y = digits[:2]
    rbm = BoltzspikeRBM(24, threshold=7.5, epochs=30, random_state=0)
    pipeline = make_pipeline(rbm, LogisticRegression(max_iter=1000)).fit(X, y)
    assert pipeline.score(*digits[2:]) > 0.8
    binary = (X > 7.5).astype(int)
    assert set(np.unique(rbm.gibbs(binary))) <= {0, 1}
    noise = np.random.default_rng(0).integers(0, 2, X.shape) * 16
    assert rbm.score_samples(X).mean() > rbm.score_samples(noise).mean() + 10
    assert rbm.sample(7).shape == (7, 64)


def test_grey_data_are_refused_where_binary_are_asked_for(digits):
    X, y = digits[:2]
    with pytest.raises(ValidationError, match=r"X\[0, \d+\]: must be 0 or 1"):
        BoltzspikeClassifier(threshold=None).fit(X, y)
    with pytest.raises(ValidationError, match="BoltzspikeRBM.threshold"):
        BoltzspikeRBM(threshold="median").fit(X)
    with pytest.raises(ValidationError, match="BoltzspikeRBM.engine"):
        BoltzspikeRBM(engine="nest").fit(X)
    with pytest.raises(ValidationError, match="at least 2 classes"):
        BoltzspikeClassifier().fit(X, np.zeros(len(X)))

"""Restricted Boltzmann machines as scikit-learn estimators; LIF neurons may predict, transform and sample."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy.special import expit

from boltzspike.calibration import Calibration
from boltzspike.errors import MissingDependency, require
from boltzspike.model.boltzmann import RestrictedBoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.pipeline import sample as sample_machine
from boltzspike.pipeline.inference import classify, infer
from boltzspike.pipeline.training import train
from boltzspike.training.measures import pseudo_likelihoods
from boltzspike.training.models import Model, binary, class_rbm, one_hot, restricted
from boltzspike.training.trainer import Settings, Trained

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise MissingDependency('the estimators need scikit-learn: pip install "boltzspike[learn]"') from None

Engine = Literal["gibbs", "lif"]
Threshold = Literal["mean"] | float | None


class _Learner(BaseEstimator):
    """What both estimators share: binarising, training, the options of LIF networks."""

    def __init__(
        self,
        n_components: int = 64,
        *,
        engine: Engine = "gibbs",
        train_engine: Engine = "gibbs",
        threshold: Threshold = "mean",
        epochs: int = 50,
        batch_size: int = 50,
        learning_rate: float | tuple[float, float] = (0.1, 0.01),
        method: str = "pcd",
        steps: int = 1,
        weight_decay: float = 1e-3,
        optimizer: str = "sgd",
        momentum: float = 0.0,
        duration: float = 1000.0,
        chains: int = 16,
        calibration: Calibration | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.engine = engine
        self.train_engine = train_engine
        self.threshold = threshold
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.method = method
        self.steps = steps
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.momentum = momentum
        self.duration = duration
        self.chains = chains
        self.calibration = calibration
        self.random_state = random_state

    def _seeded(self) -> int:
        for name in ("engine", "train_engine"):
            value = getattr(self, name)
            require(value in ("gibbs", "lif"), f"{type(self).__name__}.{name}", "'gibbs' or 'lif'", value)
        return int(check_random_state(self.random_state).randint(2**31))

    def _learn_threshold(self, X: Array) -> None:
        where = f"{type(self).__name__}.threshold"
        if isinstance(self.threshold, str):
            require(self.threshold == "mean", where, "'mean', a number or None", self.threshold)
            self.threshold_ = X.mean(axis=0)
        elif self.threshold is None:
            self.threshold_ = None
        else:
            require(bool(np.isfinite(self.threshold)), where, "'mean', a finite number or None", self.threshold)
            self.threshold_ = np.full(X.shape[1], float(self.threshold))

    def _binarised(self, X: Any, *, reset: bool = False) -> Array:
        X = validate_data(self, X, reset=reset, dtype=np.float64)
        if reset:
            self._learn_threshold(X)
        return self._above(X)

    def _above(self, X: Array) -> Array:
        return binary(X, "X") if self.threshold_ is None else (self.threshold_ < X).astype(np.float32)

    def _trained(self, model: Model, data: Array, seed: int, **more: Any) -> Trained:
        settings = Settings(
            epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate,
            method=self.method,  # type: ignore[arg-type]
            steps=self.steps, weight_decay=self.weight_decay,
            optimizer=self.optimizer,  # type: ignore[arg-type]
            momentum=self.momentum, seed=seed, average=0.99, **more,
        )  # fmt: skip
        spiking: dict[str, Any] = {"calibration": self.calibration} if self.train_engine == "lif" else {}
        return train(model, data, sampler=self.train_engine, settings=settings, **spiking)

    def _options(self) -> dict[str, Any]:
        return {
            "engine": self.engine, "duration": self.duration, "chains": self.chains, "seed": self.seed_,
            "calibration": self.calibration,
        }  # fmt: skip


class BoltzspikeRBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Learner):
    """A restricted Boltzmann machine as a transformer; counterpart of scikit-learn's ``BernoulliRBM``.

    Parameters
    ----------
    n_components
        Number of hidden units.
    engine
        What ``transform`` and ``sample`` use: ``"gibbs"``, or ``"lif"``: LIF neurons sample.
    train_engine
        What visits the states of the free phase in training: ``"gibbs"``, or ``"lif"``.
    threshold
        A feature is 1 where it exceeds this: ``"mean"`` (of each feature, learned in ``fit``) or a number;
        ``None``: X must be binary.
    epochs, batch_size, learning_rate, method, steps, weight_decay, optimizer, momentum
        As in ``training.Settings``.
    duration, chains
        Of the runs of LIF neurons for each sample: ms of each chain.
    calibration
        Of the LIF neuron; ``None``: preset S1.
    random_state
        The same integer gives the same model, and the same answers.

    Attributes
    ----------
    machine_ : RestrictedBoltzmannMachine
    threshold_ : array of shape (n_features,), or None
    history_ : tuple of training.Epoch

    Examples
    --------
    >>> X = np.array([[0, 0, 1], [1, 1, 0]] * 20)
    >>> BoltzspikeRBM(2, threshold=None, random_state=0).fit(X).transform(X[:2]).shape
    (2, 2)
    """

    def fit(self, X: Any, y: Any = None) -> BoltzspikeRBM:
        """Train on X (samples, features)."""
        self.seed_ = self._seeded()
        data = self._binarised(X, reset=True)
        model = restricted(data.shape[1], self.n_components, data=data, seed=self.seed_)
        trained = self._trained(model, data, self.seed_)
        self._model, self.history_ = trained.model, trained.history
        machine = trained.model.machine()
        assert isinstance(machine, RestrictedBoltzmannMachine)
        self.machine_ = machine
        self._n_features_out = self.n_components
        return self

    def transform(self, X: Any) -> Array:
        """Return p(h = 1 | x): exact, or the share of time that LIF neurons are on, (samples, components)."""
        check_is_fitted(self)
        data = self._binarised(X)
        if self.engine == "gibbs":
            return np.asarray(expit(data @ self._model.weights + self._model.hidden_biases))
        visible = range(self.n_features_in_)
        return infer(self.machine_, data, visible, **self._options())[:, self.n_features_in_ :]

    def gibbs(self, v: Any) -> Array:
        """Return the visible units after one Gibbs step from binary ``v``, int (samples, features)."""
        check_is_fitted(self)
        v = binary(v, "v", self.n_features_in_)
        rng = np.random.default_rng(self.seed_)
        hidden = rng.random((len(v), self.n_components)) < expit(
            v @ self._model.weights + self._model.hidden_biases
        )
        on = expit(hidden @ self._model.weights.T + self._model.visible_biases)
        return (rng.random(on.shape) < on).astype(int)

    def score_samples(self, X: Any) -> Array:
        """Return the pseudo-likelihood of each sample, nats: all features, so nothing is drawn."""
        check_is_fitted(self)
        return pseudo_likelihoods(self._model, self._binarised(X))

    def sample(self, n_samples: int = 1, *, burn_in: float = 2000.0, draw_every: float = 200.0) -> Array:
        """Return binary samples, int (n_samples, features), of up to 64 chains; times in ms."""
        check_is_fitted(self)
        chains = min(n_samples, 64)
        draws = -(-n_samples // chains)
        options: dict[str, Any] = {"engine": "gibbs"} if self.engine == "gibbs" else {}
        if self.engine == "lif":
            options["draw_every"] = draw_every
        result = sample_machine(
            self.machine_, calibration=self.calibration, duration=draws * draw_every, burn_in=burn_in,
            chains=chains, seed=self.seed_, **options,
        )  # fmt: skip
        z = result.z[:, :: max(result.z.shape[1] // draws, 1)][:, :draws]
        return z.transpose(1, 0, 2).reshape(-1, z.shape[2])[:n_samples, : self.n_features_in_].astype(int)


class BoltzspikeClassifier(ClassifierMixin, _Learner):
    """A class RBM: labels are visible units, one for each class; evidence about the rest names them.

    Parameters
    ----------
    n_components, train_engine, threshold, epochs, batch_size, learning_rate, method, steps, weight_decay, \
optimizer, momentum, duration, chains, calibration, random_state
        As in ``BoltzspikeRBM``.
    engine
        What ``predict`` and ``predict_proba`` use: ``"gibbs"``, or ``"lif"``: a network of LIF neurons whose label
        neurons vote by the share of time that they are on.
    discriminative
        Weight of log p(y | x) beside log p(x, y) in training.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    machine_ : RestrictedBoltzmannMachine
    threshold_ : array of shape (n_features,), or None
    history_ : tuple of training.Epoch
    """

    def __init__(
        self,
        n_components: int = 64,
        *,
        engine: Engine = "gibbs",
        train_engine: Engine = "gibbs",
        threshold: Threshold = "mean",
        epochs: int = 50,
        batch_size: int = 50,
        learning_rate: float | tuple[float, float] = (0.2, 0.01),
        method: str = "pcd",
        steps: int = 1,
        weight_decay: float = 1e-3,
        optimizer: str = "sgd",
        momentum: float = 0.0,
        discriminative: float = 0.3,
        duration: float = 1000.0,
        chains: int = 16,
        calibration: Calibration | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            n_components, engine=engine, train_engine=train_engine, threshold=threshold, epochs=epochs,
            batch_size=batch_size, learning_rate=learning_rate, method=method, steps=steps,
            weight_decay=weight_decay, optimizer=optimizer, momentum=momentum, duration=duration, chains=chains,
            calibration=calibration, random_state=random_state,
        )  # fmt: skip
        self.discriminative = discriminative

    def __sklearn_tags__(self) -> Any:
        """Say that binarised features make a poor classifier of continuous ones."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def fit(self, X: Any, y: Any) -> BoltzspikeClassifier:
        """Train on X (samples, features) and its classes y."""
        self.seed_ = self._seeded()
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        count = len(self.classes_)
        require(count > 1, "y", "of at least 2 classes", f"{count} class")
        self._learn_threshold(X)
        pixels = self._above(X)
        data = np.hstack([pixels, one_hot(codes, count)])
        model = class_rbm(pixels.shape[1], count, self.n_components, data=data, seed=self.seed_)
        trained = self._trained(model, data, self.seed_, labels=count, discriminative=self.discriminative)
        machine = trained.model.machine()
        assert isinstance(machine, RestrictedBoltzmannMachine)
        self.machine_, self.history_ = machine, trained.history
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return the share of each class, (samples, classes): p(label = 1) normalised over the labels."""
        check_is_fitted(self)
        return classify(self.machine_, self._binarised(X), **self._options())

    def predict(self, X: Any) -> Array:
        """Return the likeliest class of each sample."""
        shares = self.predict_proba(X)
        return self.classes_[shares.argmax(axis=1)]

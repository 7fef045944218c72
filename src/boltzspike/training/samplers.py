"""Who visits the states of the two phases of learning.

A sampler is started once; from then on each of its phases takes a model, and its state, and returns statistics and
the state after. The state is a dictionary of arrays: that makes checkpoints. Random numbers are a function of the
``key`` (seed, update, phase), so that a run that is resumed goes on bit for bit.

In the data phase the visible units hold data; the model's own states are never clamped.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
from scipy.special import expit

from boltzspike.errors import UnsupportedFeature, require
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.theory.exact import all_states, exact_moments
from boltzspike.theory.exact_samples import exact_samples
from boltzspike.theory.tables import quadratic
from boltzspike.training.models import Model, Statistics

State = dict[str, Array]
Key = tuple[int, int, int]
"""Seed, number of the update, phase: 0 data, 1 free."""
DATA, FREE = 0, 1


class Sampler(Protocol):
    """Visits states given data, and states of the model on its own."""

    name: str
    """Stands in checkpoints."""

    def start(self, model: Model, *, chains: int, seed: int) -> State:
        """Return the state before the first update."""
        ...

    def given(self, model: Model, visible: Array, state: State, key: Key) -> tuple[Statistics, State]:
        """Return the statistics of the data phase: visible units at each row of ``visible``, float32."""
        ...

    def free(
        self, model: Model, state: State, key: Key, *, steps: int, initial: Array | None = None
    ) -> tuple[Statistics, State]:
        """Return those of the free phase, after ``steps`` from the chains' states or from visible ``initial``."""
        ...


def rng_of(key: Key) -> np.random.Generator:
    """Return the generator of a key."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))


def sigma(x: Array) -> Array:
    """Return 1/(1 + exp(-x)) in float32, in place and without warnings at any x."""
    np.maximum(x, np.float32(-80), out=x)
    np.negative(x, out=x)
    np.exp(x, out=x)
    x += np.float32(1)
    return np.reciprocal(x, out=x)


class LayerGibbs:
    """Block Gibbs sampling of an RBM, both layers by turns, all chains in one matrix product.

    Statistics take the hidden units by their probabilities given the visible ones (Rao-Blackwell).
    """

    name = "gibbs"

    def start(self, model: Model, *, chains: int, seed: int) -> State:
        """Start with visible units drawn by their biases, and hidden units given them."""
        _require_restricted(model, "LayerGibbs")
        rng = rng_of((seed, 0, 2))
        p = expit(model.visible_biases).astype(np.float32)
        v = drawn(rng, np.broadcast_to(p, (chains, len(p))))
        weights, _, hidden = _layers(model)
        return {"visible": v, "hidden": drawn(rng, sigma(v @ weights + hidden))}

    def given(self, model: Model, visible: Array, state: State, key: Key) -> tuple[Statistics, State]:
        """Return the exact statistics: the hidden units are independent."""
        weights, _, hidden = _layers(model)
        return _statistics(visible, sigma(visible @ weights + hidden)), state

    def free(
        self, model: Model, state: State, key: Key, *, steps: int, initial: Array | None = None
    ) -> tuple[Statistics, State]:
        """Return the statistics after ``steps`` updates of both layers."""
        weights, visible_biases, hidden_biases = _layers(model)
        rng = rng_of(key)
        h = state["hidden"] if initial is None else drawn(rng, sigma(initial @ weights + hidden_biases))
        for _ in range(steps):
            v = drawn(rng, sigma(h @ weights.T + visible_biases))
            p = sigma(v @ weights + hidden_biases)
            h = drawn(rng, p)
        statistics = dataclasses.replace(_statistics(v, p), states=np.concatenate([v, h], axis=1))
        return statistics, (state if initial is not None else {"visible": v, "hidden": h})


def drawn(rng: np.random.Generator, p: Array) -> Array:
    """Return states, float32, that are 1 with probabilities p."""
    return (rng.random(p.shape, dtype=np.float32) < p).astype(np.float32)


class Tempered:
    """Parallel tempering of an RBM: replicas at falling inverse temperatures, neighbours exchanged.

    ``p_beta ~ p(z)^beta p_0(z)^(1 - beta)`` with p_0 the independent visible units of the same biases. One replica
    of each temperature a chain. G. Desjardins, A. Courville, Y. Bengio, P. Vincent and O. Delalleau, "Parallel
    tempering for training of restricted Boltzmann machines", AISTATS 2010.
    """

    name = "tempered"

    def __init__(self, temperatures: int = 8, *, coldest: float = 1.0, hottest: float = 0.0) -> None:
        """Take inverse temperatures evenly from ``coldest`` to ``hottest``."""
        require(temperatures >= 2, "Tempered.temperatures", "at least 2", temperatures)
        self.betas = np.linspace(coldest, hottest, temperatures).astype(np.float32)

    def start(self, model: Model, *, chains: int, seed: int) -> State:
        """Start every replica with visible units drawn by their biases."""
        _require_restricted(model, "Tempered")
        rng = rng_of((seed, 0, 2))
        p = expit(model.visible_biases).astype(np.float32)
        return {"visible": drawn(rng, np.broadcast_to(p, (len(self.betas), chains, len(p))))}

    def given(self, model: Model, visible: Array, state: State, key: Key) -> tuple[Statistics, State]:
        """Return the exact statistics: the hidden units are independent."""
        return LayerGibbs().given(model, visible, state, key)

    def free(
        self, model: Model, state: State, key: Key, *, steps: int, initial: Array | None = None
    ) -> tuple[Statistics, State]:
        """Return the statistics of the coldest replicas after ``steps`` updates, each with exchanges."""
        if initial is not None:
            raise UnsupportedFeature("Tempered: its chains persist; contrastive divergence needs another sampler")
        v, _ = self.advance(model, state["visible"], rng_of(key), steps)
        weights, _, hidden = _layers(model)
        return _statistics(v[0], sigma(v[0] @ weights + hidden)), {"visible": v}

    def advance(self, model: Model, v: Array, rng: np.random.Generator, steps: int) -> tuple[Array, float]:
        """Return the replicas (temperatures, chains, visible) after ``steps``, and the share of swaps accepted."""
        weights, visible_biases, hidden_biases = _layers(model)
        beta = self.betas[:, None, None]
        accepted, tried = 0, 0
        v = v.copy()
        for step in range(steps):
            field = v @ weights + hidden_biases
            # the visible biases are the same at every temperature: the rest of the free energy is exchanged
            chance = _softplus_differences(field, self.betas)
            low = np.arange(step % 2, len(self.betas) - 1, 2)
            if len(low):
                swap = np.log(rng.random((len(low), v.shape[1]))) < chance[low]
                accepted, tried = accepted + int(swap.sum()), tried + swap.size
                which = swap[..., None]
                cold, hot = v[low], v[low + 1]
                v[low], v[low + 1] = np.where(which, hot, cold), np.where(which, cold, hot)
            h = drawn(rng, sigma(beta * (v @ weights + hidden_biases)))
            v = drawn(rng, sigma(beta * (h @ weights.T) + visible_biases))
        return v, accepted / max(tried, 1)


def _softplus_differences(field: Array, betas: Array) -> Array:
    """Return log of the Metropolis ratio of exchanging replicas r and r + 1, (temperatures - 1, chains)."""
    of = lambda x, beta: np.logaddexp(0, beta * x).sum(axis=-1)
    cold, hot = betas[:-1, None, None], betas[1:, None, None]
    return of(field[1:], cold) + of(field[:-1], hot) - of(field[:-1], cold) - of(field[1:], hot)


class UnitSampler:
    """Any machine, unit by unit: Gibbs sampling, or the abstract spiking neurons of Buesing et al.

    In the data phase each sample has a chain of its own, its visible units held, for ``given_sweeps``.
    """

    def __init__(self, kind: str = "gibbs", *, given_sweeps: int = 20, tau: int = 20) -> None:
        """Take ``kind`` ``"gibbs"`` or ``"buesing"``; a sweep of the latter is ``tau`` steps."""
        require(kind in ("gibbs", "buesing"), "UnitSampler.kind", "'gibbs' or 'buesing'", kind)
        require(given_sweeps >= 1, "UnitSampler.given_sweeps", "at least 1", given_sweeps)
        self.name, self.kind, self.given_sweeps, self.tau = f"units-{kind}", kind, given_sweeps, tau

    def start(self, model: Model, *, chains: int, seed: int) -> State:
        """Start with all units 0; the first free phase is a burn-in of its own."""
        shape = (chains, model.n_units)
        return {"z": np.zeros(shape, dtype=np.int8), "age": np.zeros(shape, dtype=np.int32)}

    def given(self, model: Model, visible: Array, state: State, key: Key) -> tuple[Statistics, State]:
        """Return the statistics over the last half of the sweeps with the visible units held."""
        if model.n_hidden == 0:
            return model.statistics(visible.astype(np.float64)), state
        from boltzspike.abstract import held

        evidence = np.full((len(visible), model.n_units), -1, dtype=np.int8)
        evidence[:, : model.n_visible] = visible
        begin = {"z": np.maximum(evidence, 0), "age": np.zeros(evidence.shape, dtype=np.int32)}
        weights, biases = model.plain()
        z, _ = self._run(weights, held(biases, evidence), begin, key, self.given_sweeps)
        kept = z[:, self.given_sweeps // 2 :].reshape(-1, model.n_units).astype(np.float64)
        return model.statistics(kept), state

    def free(
        self, model: Model, state: State, key: Key, *, steps: int, initial: Array | None = None
    ) -> tuple[Statistics, State]:
        """Return the statistics over ``steps`` sweeps of the chains."""
        weights, biases = model.plain()
        begin = state
        if initial is not None:
            z = np.zeros((len(initial), model.n_units), dtype=np.int8)
            z[:, : model.n_visible] = initial
            begin = {"z": z, "age": np.zeros(z.shape, dtype=np.int32)}
            if model.n_hidden:
                from boltzspike.abstract import held

                evidence = np.full(z.shape, -1, dtype=np.int8)
                evidence[:, : model.n_visible] = initial
                settle = (key[0], key[1], key[2] + 2)
                _, begin = self._run(weights, held(biases, evidence), begin, settle, self.given_sweeps)
        z, after = self._run(weights, biases, begin, key, steps)
        used = z[:, -1] if initial is not None else z.reshape(-1, model.n_units)
        statistics = dataclasses.replace(model.statistics(used.astype(np.float64)), states=used)
        return statistics, (state if initial is not None else after)

    def _run(self, weights: Array, biases: Array, begin: State, key: Key, sweeps: int) -> tuple[Array, State]:
        from boltzspike import abstract
        from boltzspike.samples import Record

        runner: abstract.Gibbs | abstract.Neural
        if self.kind == "gibbs":
            runner, per_sweep = abstract.Gibbs(weights, biases), 1
        else:
            runner, per_sweep = abstract.Neural(weights, biases, tau=self.tau), self.tau
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
        shape = begin["z"].shape
        state = abstract.State(
            seed=seed, step=0, z=begin["z"], age=begin["age"].astype(np.int32), trace=np.zeros(shape)
        )
        samples, after = runner.run(state, sweeps * per_sweep, Record(states_every=per_sweep))
        assert samples.states is not None
        return samples.states, {"z": after.z, "age": after.age}


class ExactSampler:
    """No sampling: the exact statistics of both phases, for small machines (``theory.exact`` says how small).

    ``samples``: how many states are drawn for the covariance of the natural gradient, of a machine that
    ``theory.exact_samples`` takes; 0: none.
    """

    name = "exact"

    def __init__(self, samples: int = 0) -> None:
        require(samples >= 0, "ExactSampler.samples", ">= 0", samples)
        self.samples = samples

    def start(self, model: Model, *, chains: int, seed: int) -> State:
        """Return nothing: there is no state."""
        return {}

    def given(self, model: Model, visible: Array, state: State, key: Key) -> tuple[Statistics, State]:
        """Sum over the hidden states."""
        v, weights, biases = visible.astype(np.float64), model.weights, model.biases
        if model.restricted:
            return _statistics(v, expit(v @ weights + model.hidden_biases)), state
        at = model.n_visible
        require(model.n_hidden <= 16, "ExactSampler", "a machine of at most 16 hidden units", model.n_hidden)
        h = all_states(model.n_hidden).astype(np.float64)
        alone = quadratic(weights[at:, at:], biases[at:])
        log_p = alone + (v @ weights[:at, at:]) @ h.T
        p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        hidden = p @ h
        couplings = np.zeros_like(weights)
        couplings[:at, :at] = v.T @ v / len(v)
        couplings[:at, at:] = v.T @ hidden / len(v)
        couplings[at:, :at] = couplings[:at, at:].T
        couplings[at:, at:] = h.T @ (h * p.mean(axis=0)[:, None])
        units = np.concatenate([v.mean(axis=0), hidden.mean(axis=0)])
        return Statistics(couplings=model.allowed(couplings), units=units), state

    def free(
        self, model: Model, state: State, key: Key, *, steps: int, initial: Array | None = None
    ) -> tuple[Statistics, State]:
        """Return the exact moments."""
        if initial is not None:
            raise UnsupportedFeature("ExactSampler: has no chains for contrastive divergence; take method='exact'")
        machine = model.machine()
        moments = exact_moments(machine, method="enumeration" if isinstance(machine, BoltzmannMachine) else None)
        at, states = model.n_visible, None
        if self.samples:
            seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
            states = exact_samples(machine.to_boltzmann(), self.samples, seed)
        couplings = moments.pairs[:at, at:] if model.restricted else model.allowed(moments.pairs)
        return Statistics(couplings=couplings, units=moments.marginals, states=states), state


def _layers(model: Model) -> tuple[Array, Array, Array]:
    return (
        model.weights.astype(np.float32),
        model.visible_biases.astype(np.float32),
        model.hidden_biases.astype(np.float32),
    )


def _statistics(visible: Array, hidden: Array) -> Statistics:
    # a product with a vector is several times faster than mean(axis=0)
    share = np.full(len(visible), 1 / len(visible), dtype=visible.dtype)
    units = np.concatenate([share @ visible, share @ hidden])
    couplings = visible.T @ hidden
    couplings *= share[0]
    return Statistics(couplings=couplings, units=units)


def _require_restricted(model: Model, who: str) -> None:
    if not model.restricted:
        raise UnsupportedFeature(f"{who}: samples the two layers of an RBM; take UnitSampler for other machines")

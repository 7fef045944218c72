"""What tuning demands where conditionals do not tell enough: that sweeps of the target leave the moments alone.

A law is the target's if Gibbs sampling of the target leaves it as it is. So from states z that the network visits
the target is sampled for k sweeps, to z', and it is demanded that the moments do not move: ``E[f(z') - f(z)] = 0``
for f = z_k and z_k z_j of the coupled units. Single updates would demand the conditionals, endless sweeps the
moments of the target. It is contrastive divergence with the network in the place of the data (G. E. Hinton, Neural
Computation 14, 1771 (2002)). No parameters of a network give all conditionals of a target of strong weights; those
that fit them best may leave the moments off by far more than those that fit what happens in k sweeps.

To first order ``E[f(z') - f(z)] = A (theta - theta')``, theta' the parameters of the network's law and
``A = E[(f(z') - f(z)) (f(z') - f(z))^T] / 2``, the Dirichlet form of k sweeps (D. A. Levin and Y. Peres, Markov
Chains and Mixing Times, 2nd ed., 2017, chapter 13), if they were reversible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from boltzspike.model.description import Array
from boltzspike.translation.tuned import RIDGE, Couplings, solver

SWEEPS = 16
"""Of 4, 16 and 64, none was best throughout."""
_STATES = 2**16
"""From which sweeps start: their noise is the demand's."""
_FORM_STATES = 2**14
"""Over which the form is averaged; it only sets the steps and the weights of the error."""

Sweep = Callable[[Array], Array]
"""States (m, n) to those after ``SWEEPS`` sweeps of the target, each with random numbers of its own."""


class Sweeps(Couplings):
    """The demand that sweeps of the target do not move the moments."""

    error_name = "D_KL of sweeps"

    def __init__(self, coupled: Array, sweep: Sweep) -> None:
        """Take the pairs whose couplings may move, symmetric (n, n), and what samples the target."""
        super().__init__(coupled)
        self.sweep = sweep

    def directions(self, groups: Sequence[Array]) -> tuple[Array, Array]:
        """Return of each group by how much sweeps move its moments, and the steps that mend it."""
        number = sum(len(states) for states in groups)
        every = -(-number // _STATES)
        before = [states[::every] for states in groups]
        after = np.split(self.sweep(np.concatenate(before)), np.cumsum([len(z) for z in before])[:-1])
        gaps = np.stack([self.mean_statistics(b) - self.mean_statistics(a) for a, b in zip(before, after)])
        further = -(-sum(map(len, before)) // _FORM_STATES)
        first, last = (
            self.statistics(np.concatenate([z[::further] for z in groups_of]).astype(np.float32))
            for groups_of in (before, after)
        )
        solve = solver(_Form(last - first))
        return gaps, np.stack([solve(gap) for gap in gaps])


class _Form:
    """Half the mean square of changes (m, parameters), with the ridge on its diagonal, as a matrix."""

    def __init__(self, changes: Array) -> None:
        self.changes = changes
        self.shape = (changes.shape[1], changes.shape[1])

    def toarray(self) -> Array:
        """Return it whole."""
        form = (self.changes.T @ self.changes).astype(np.float64)
        return form / (2 * len(self.changes)) + RIDGE * np.eye(len(form))

    def __matmul__(self, vector: Array) -> Array:
        """Return its product with a vector."""
        along = self.changes @ vector.astype(np.float32)
        return (along @ self.changes).astype(np.float64) / (2 * len(self.changes)) + RIDGE * vector

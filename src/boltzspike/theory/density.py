r"""The response function of one LIF neuron from its population density: exact up to the grid.

With ``v = u - theta`` and ``S = g_l (v_rest - theta) + i + sum a exp(-(t - t_s)/tau_syn)`` the membrane obeys
``c_m dv/dt = S - G v``, where ``a = w (e_rev - theta)``: the effective potential is above threshold exactly
where ``S > 0``. Per inter-spike interval the free neuron has the occupation density ``f(S, v)``, v < 0, with

``0 = -d/dv[(S - G v)/c_m f] + A_S f + delta(v - v_reset) h(S)``, ``pi(S) = (S/c_m) f(S, 0)`` at ``S > 0``,

``h = exp(A_S tau_refrac) pi``, ``int pi = 1`` and ``p = tau_refrac / (tau_refrac + int f)``. ``A_S`` carries
the exact Poisson jumps. Time is continuous and the membrane is held for exactly ``tau_refrac``.

**The grid.** Discontinuous Galerkin on cells of (S, v): polynomials of degree 2 in S and 1 in v, cells graded
towards the corner (0, 0) where f is singular on the scale ``sqrt(tau_eff/tau_syn)``, with S = 0 and v_reset on
faces, so that jumps across S = 0 and fluxes are integrated exactly. The system is block tridiagonal in v and
eliminated from below; pi is the null vector of a small matrix, so nothing is iterated.

**The second direction.** The state of the synapses has two components, S and the inhibitory part y of S. The
part of y that is uncorrelated with S is discretised by collocation at ``nodes`` points, the Gauss quadrature of
its stationary law (whose cumulants are known in closed form); in this basis the jumps stay exact. With one common
tau_syn y enters only through G, and one node, y = E[y|S] computed from the jumps, is enough. With unequal time
constants y also changes the memory of S, and three nodes are needed.

**Nodes on a coarse grid.** What the further nodes change is small and smooth, so it is computed on coarse cells
(2 times larger in S, 1.3 times in v) and put upon the solution of one node on the fine ones: for the free time
``T(fine, 3) = T(fine, 1) T(coarse, 3)/T(coarse, 1)``, for the other results sums instead of products (the
combination technique, Griebel, Schneider & Zenger 1992). On the four sets with unequal tau_syn this moves p by
.00014 at most, and takes half the time.

**Measured** against event-driven simulation (benchmarks/response_errors.py; 13 potentials within 3 sigma): max
|p - p_sim| <= .0006 at a standard error of .0003-.0006 on the seven sets with one tau_syn (one node), and
<= .0008 on the four sets with unequal ones (tau_syn 2/10, 3/8, 5/10 and 30/3 ms; three nodes; one node: .001 to
.034, two: .0002 to .0024); within 2 % for p from .003 to .06. Where fewer than about one jump comes per tau_syn
and source, S has a singular density: errors reach .003 (.009 for unequal tau_syn, at 100 Hz and 3/10 ms), up to
six times ``p_error``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import leggauss, legvander

from boltzspike.errors import CalibrationError, UnsupportedFeature, ValidationError, require
from boltzspike.model.background import PoissonBackground
from boltzspike.model.neuron import LIF, Neuron
from boltzspike.theory.density_grid import (
    MAX_NODES,
    MAX_UNKNOWNS,
    NEVER,
    S_DEGREE,
    Bombardment,
    Resolution,
    Solution,
    Synapses,
    build_synapses,
    describe_bombardment,
    solve_levels,
)
from boltzspike.units import hz

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Density:
    """Densities of one point, as averages over the cells of the grid."""

    s: Array
    """Faces of the S-cells, shape (cells_s + 1,), nA. S > 0 is above threshold."""
    v: Array
    """Faces of the v-cells, shape (cells_v + 1,), mV relative to threshold."""
    free: Array
    """f(S, v): time per inter-spike interval spent free in each cell, shape (cells_s, cells_v), ms/(nA mV)."""
    at_spike: Array
    """pi(S): density of S at a spike, shape (cells_s,), 1/nA."""
    at_release: Array
    """h(S): density of S when the refractory period ends, shape (cells_s,), 1/nA."""


@dataclass(frozen=True, kw_only=True)
class DensityResponse:
    """Response of a neuron at each mean effective potential; all arrays have the shape of ``mu``."""

    mu: Array
    """Mean effective potential theta + <S>/<G>, mV."""
    p: Array
    """Probability of being refractory, rate * tau_refrac."""
    rate: Array
    """Firing rate, Hz."""
    isi_mean: Array
    """Mean inter-spike interval, ms; inf where the neuron never fires."""
    isi_cv: Array
    """Coefficient of variation of the inter-spike interval; its limit 1 (Poisson) where p vanishes, 0 without
    noise."""
    burst_fraction: Array
    """Share of spikes at the end of whose refractory period the effective potential is above threshold
    (S > 0), so that the burst goes on: with the reset at threshold the neuron refires at its first chance."""
    p_error: Array
    """|change of p| from a grid about 1.6 times coarser with one node less: an upper estimate of the error."""
    densities: tuple[Density, ...] | None = None
    """One per point, if asked for."""


def density_response(
    neuron: Neuron,
    background: PoissonBackground,
    mu: Array | list[float] | float,
    *,
    nodes: int | None = None,
    refine: float = 1.0,
    dt: float = 0.0,
    error: bool = True,
    cv: bool = True,
    densities: bool = False,
) -> DensityResponse:
    """Return the stationary response of one neuron under Poisson bombardment, exact up to the grid.

    Parameters
    ----------
    neuron
        LIF or CurrentLIF with exponential kernels. Its ``v_rest`` and ``i_offset`` play no role: they act
        only through ``mu``.
    background
        Poisson sources.
    mu
        Mean effective potential without spikes, theta + <S>/<G>, mV, any shape (kept).
    nodes
        Points in the second synaptic direction (see the module), 1 to 6. By default 3 for unequal ``tau_syn``;
        for one common ``tau_syn`` 1, or 2 where the variance of G given S exceeds 0.05 <G>^2.
    refine
        Divides the size of all cells; the time per point grows with about its third power.
    dt
        Time step of an engine, ms: p, rate and mean interval are then those on its grid (``grid_lag``); 0:
        continuous time.
    error
        Whether to estimate ``p_error`` (a third of the time); nan otherwise.
    cv
        Whether to compute ``isi_cv`` (a sixth of the time); nan otherwise.
    densities
        Whether to return f, pi and h.

    Raises
    ------
    UnsupportedFeature
        For alpha kernels.
    ValidationError
        If an argument is out of range, or the grid would be larger than MAX_UNKNOWNS.
    CalibrationError
        If the grid can't hold the case: the estimated error of p exceeds 0.02 (checked with ``error`` only).
    """
    if neuron.kernel != "exponential":
        raise UnsupportedFeature(
            f"density_response: {type(neuron).__name__}.kernel={neuron.kernel!r} needs two state variables per "
            "synapse; use kernel='exponential', or method='simulation'"
        )
    potentials = np.asarray(mu, dtype=np.float64)
    for position in np.argwhere(~np.isfinite(potentials)):
        require(False, f"density_response.mu{position.tolist()}", "finite", float(potentials[tuple(position)]))
    require(math.isfinite(refine) and refine > 0, "density_response.refine", "> 0", refine)
    most = neuron.tau_refrac / 10
    require(0 <= dt <= most, "density_response.dt", f"in 0 .. tau_refrac/10 = {most:g} ms", dt)
    require(nodes is None or 1 <= nodes <= MAX_NODES, "density_response.nodes", f"1 to {MAX_NODES}", nodes)
    input_ = describe_bombardment(neuron, background)
    nodes = _default_nodes(neuron, input_) if nodes is None else nodes
    if input_.sd_y == 0:
        nodes = 1
    grid = Resolution().coarsened(1 / refine)

    def solved(count: int, cells: Resolution, *, cv: bool = cv, with_densities: bool = False) -> list[_Point]:
        return [_point(neuron, input_, float(x), count, cells, cv, with_densities) for x in potentials.ravel()]

    if nodes == 1 or densities:  # densities of several nodes are wanted on the fine grid itself
        results = solved(nodes, grid, with_densities=densities)
        coarse = grid.coarsened(1.6)
    else:
        coarse = grid.coarsened(*_NODES_COARSER)
        several, one = solved(nodes, coarse), solved(1, coarse)  # first, for they may be refused
        results = [_combined(*three) for three in zip(solved(1, grid), several, one)]
    isi = np.array([neuron.tau_refrac + result.free_time for result in results])
    p = neuron.tau_refrac / isi
    p_error = np.full(p.shape, np.nan)
    if error:
        others = np.array([other.free_time for other in solved(max(nodes - 1, 1), coarse, cv=False)])
        p_error = np.abs(p - neuron.tau_refrac / (neuron.tau_refrac + others))
        if (p_error > 0.02).any():
            worst = int(np.argmax(p_error))
            raise CalibrationError(
                f"density_response: the grid can't hold this neuron and background: at mu = "
                f"{potentials.ravel()[worst]:g} mV p changes by {p_error[worst]:.2g} between two grids; raise "
                f"refine (now {refine:g}) or use method='simulation'"
            )
    shape = potentials.shape
    if dt > 0:
        lags = [grid_lag(neuron, result.released, dt) if result.released else (0.0, 0.0) for result in results]
        climbing, quiet = np.array(lags).T
        isi = np.maximum(isi - climbing - quiet, neuron.tau_refrac)  # on the grid none is shorter
        p = neuron.tau_refrac / isi
        p_error += p * quiet / isi  # missed crossings may undo it
    return DensityResponse(
        mu=potentials.copy(), p=p.reshape(shape), rate=hz(1 / isi).reshape(shape), isi_mean=isi.reshape(shape),
        isi_cv=np.array([result.isi_cv for result in results]).reshape(shape),
        burst_fraction=np.array([result.burst_fraction for result in results]).reshape(shape),
        p_error=p_error.reshape(shape),
        densities=tuple(result.density for result in results if result.density) if densities else None,
    )  # fmt: skip


def _default_nodes(neuron: Neuron, input_: Bombardment) -> int:
    if input_.tau_exc != input_.tau_inh:
        return 3
    if not isinstance(neuron, LIF):
        return 1
    # G changes with y at given S by y times the difference of the inverse driving forces
    per_y = 1 / (neuron.e_rev_inh - neuron.v_thresh) - 1 / (neuron.e_rev_exc - neuron.v_thresh)
    return 2 if (input_.sd_y * per_y / input_.mean_g) ** 2 > 0.05 else 1


@dataclass(frozen=True, kw_only=True)
class _Point:
    free_time: float  # mean time from release to spike, ms
    isi_cv: float
    burst_fraction: float
    density: Density | None
    released: _Released | None = None


_NODES_COARSER = (2.0, 1.3)
"""How much larger the cells are, in S and in v, on which several nodes are solved."""


def _combined(fine: _Point, coarse: _Point, coarse_one: _Point) -> _Point:
    """Return the point on the fine grid with the nodes of ``coarse``; the other two have one node."""
    if not (0 < fine.free_time < math.inf and coarse.free_time < math.inf and coarse_one.free_time < math.inf):
        return fine  # never fires, or without noise
    free_time = fine.free_time * coarse.free_time / coarse_one.free_time
    return dataclasses.replace(
        fine, free_time=free_time,
        isi_cv=float(np.maximum(fine.isi_cv + coarse.isi_cv - coarse_one.isi_cv, 0.0)),
        burst_fraction=min(max(fine.burst_fraction + coarse.burst_fraction - coarse_one.burst_fraction, 0.0), 1.0),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Released:
    """Quadrature of h(S): what is needed of the moment at which the refractory period ends."""

    s: Array  # nA
    g: Array  # uS
    probability: Array


def grid_lag(neuron: Neuron, released: _Released, dt: float) -> tuple[float, float]:
    """Return by how much shorter the mean inter-spike interval is on a time grid than in continuous time, ms.

    The first number is the share of the intervals released above threshold, the second that of the others.

    An engine stamps a spike at the end of its step and counts tau_refrac from there, less one step, so that a
    neuron that fires at its first chance has p = 1. An interval of ``tau_refrac + W``, with W the time from
    release to threshold, then lasts ``tau_refrac - dt + dt ceil(W/dt)`` counted from threshold to threshold, less
    the wait for the end of the step: it is shorter by ``dt frac(W/dt)``. After a release above threshold W is the
    climb from the reset, ``(c_m/G) ln(1 + G (theta - reset)/S)``; after one below threshold W is long and its
    fractional part is 1/2 on average. Where every climb ends within a step (reset at threshold) only the climb
    itself is lost. Neglected: a neuron at threshold when released may miss its chance, as the engine looks at the
    end of the step only; with the reset at threshold that undoes about all of the second number.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        climb = neuron.c_m / released.g * np.log1p(released.g * (neuron.v_thresh - neuron.v_reset) / released.s)
    above = released.s > 0
    fraction = np.where(above, np.mod(climb / dt, 1.0), 0.0)
    below = float(np.sum(released.probability[~above]))
    return dt * float(np.sum(released.probability * fraction)), dt / 2 * max(below, 0.0)


def _point(
    neuron: Neuron, input_: Bombardment, mu: float, nodes: int, grid: Resolution, cv: bool, densities: bool
) -> _Point:
    tau = neuron.tau_refrac
    above = mu - neuron.v_thresh
    if input_.sd == 0:
        climb = math.inf
        if above > 0:
            climb = neuron.c_m / input_.mean_g * math.log1p((neuron.v_thresh - neuron.v_reset) / above)
        certain = float(above > 0)
        return _Point(free_time=climb, isi_cv=0.0, burst_fraction=certain, density=None)
    never = _Point(free_time=math.inf, isi_cv=1.0, burst_fraction=0.0, density=None)
    s_mean = above * input_.mean_g
    if s_mean - input_.mean_x + input_.high <= 0:  # S > 0 is less likely than exp(-TAIL)
        return never
    synapses = build_synapses(neuron, input_, s_mean, nodes, grid)
    if len(synapses.mass) > MAX_UNKNOWNS:
        raise ValidationError(
            f"density_response: needs {len(synapses.mass)} unknowns per level, more than {MAX_UNKNOWNS}: tau_eff "
            "is too short beside tau_syn, or refine or nodes are too large"
        )
    solution = solve_levels(neuron, input_, synapses, grid, second_moment=cv)
    mean, square = solution.free_time, solution.free_time_sq
    if not abs(mean) < NEVER * tau:
        return never
    if mean <= 0:  # the tails of few and large jumps can be too far out for a polynomial in y
        if nodes > 1:
            return _point(neuron, input_, mu, nodes - 1, grid, cv, densities)
        if -mean > 1e5 * tau:  # p is below what the grid resolves
            return never
        raise CalibrationError(
            f"density_response: the grid can't hold mu = {mu:g} mV (mean free time {mean:g} ms); raise refine "
            "or use method='simulation'"
        )
    variance = float(np.maximum(square - mean**2, 0.0))
    released_above = np.repeat(synapses.s_mid > 0, S_DEGREE + 1)
    return _Point(
        free_time=mean, isi_cv=math.sqrt(variance) / (tau + mean),
        burst_fraction=float(np.clip((synapses.mass * solution.at_release)[released_above].sum(), 0.0, 1.0)),
        density=_density(synapses, solution, nodes) if densities else None,
        released=_released(synapses, solution),
    )  # fmt: skip


_XI, _XI_WEIGHTS = leggauss(6)
_XI_BASIS = legvander(_XI, S_DEGREE) * np.sqrt(2 * np.arange(S_DEGREE + 1) + 1)


def _released(synapses: Synapses, solution: Solution) -> _Released:
    coefficients = solution.at_release.reshape(-1, S_DEGREE + 1)
    half = synapses.s_half[:, None]
    density = coefficients @ _XI_BASIS.T / np.sqrt(2 * half)
    return _Released(
        s=synapses.s_mid[:, None] + half * _XI,
        g=synapses.g_mid[:, None] + synapses.g_half[:, None] * _XI,
        probability=density * half * _XI_WEIGHTS,
    )


def _density(synapses: Synapses, solution: Solution, nodes: int) -> Density:
    width = np.diff(synapses.faces)
    q = S_DEGREE + 1

    def averages(coefficients: Array) -> Array:
        in_nodes = coefficients.reshape(*coefficients.shape[:-1], nodes, len(width), q)
        return in_nodes[..., 0].sum(axis=-2) / np.sqrt(width)

    return Density(
        s=synapses.faces, v=solution.v_faces, free=averages(solution.free[:, 0]).T,
        at_spike=averages(solution.at_spike), at_release=averages(solution.at_release),
    )  # fmt: skip

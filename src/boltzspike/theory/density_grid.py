"""The grid of the population density (``density.py``): its cells, its matrices and the solution on it.

First the moments and jumps of the synaptic input; then the S-direction, its extension by the inhibitory part,
and the v-direction; last the elimination level by level in v.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.polynomial.legendre import leggauss, legvander
from scipy.linalg import expm
from scipy.linalg.lapack import dgetrf, dgetrs

from boltzspike.errors import CalibrationError
from boltzspike.model.background import PoissonBackground
from boltzspike.model.neuron import LIF, Neuron
from boltzspike.units import per_ms

Array = np.ndarray

S_DEGREE = 2
V_DEGREE = 1
TAIL = 20.0
"""The S-grid ends where the Chernoff bound of the probability beyond is exp(-TAIL) = 2e-9."""
RARE = 4.0
"""Below this many jumps per tau_syn the density of S is singular where S rests without input."""
NEVER = 1e11
"""A mean free time above this many refractory periods can't be told from infinity in double precision."""
MAX_NODES = 6
MAX_UNKNOWNS = 1500
"""Largest number of unknowns per level of v."""


@dataclass(frozen=True, kw_only=True)
class Bombardment:
    """Moments and jumps of the synaptic input, independent of the bias. Sources without effect are dropped."""

    jump: Array  # of S, nA
    jump_y: Array  # of the inhibitory part of S, nA
    conductance: Array  # jump of G, uS
    rate: Array  # 1/ms
    tau: Array  # tau_syn of the source, ms
    tau_exc: float
    tau_inh: float
    mean_g: float  # uS
    mean_x: float  # mean of S without the constant part, nA
    mean_y: float
    sd: float  # of S, nA
    slope: float  # of E[y|S]
    sd_y: float  # of y - E[y] - slope (S - E[S]), nA
    cumulants: tuple[float, ...]  # of the same in units of sd_y, orders 1, 2, ...
    low: float  # bounds of S - S0 beyond which the probability is below exp(-TAIL)
    high: float
    bounded_below: bool
    bounded_above: bool


def describe_bombardment(neuron: Neuron, background: PoissonBackground) -> Bombardment:
    """Return the moments and jumps of a background for this neuron."""
    weights, rates = np.asarray(background.weights), per_ms(np.asarray(background.rates))
    inhibitory = weights < 0
    tau = np.where(inhibitory, neuron.tau_syn_inh, neuron.tau_syn_exc)
    if isinstance(neuron, LIF):
        conductance = np.abs(weights)
        jump = conductance * (np.where(inhibitory, neuron.e_rev_inh, neuron.e_rev_exc) - neuron.v_thresh)
    else:
        conductance, jump = np.zeros_like(weights), weights
    kept = (rates > 0) & (jump != 0)
    jump, conductance, rates, tau, inhibitory = (x[kept] for x in (jump, conductance, rates, tau, inhibitory))
    jump_y = np.where(inhibitory, jump, 0.0)
    variance = float(np.sum(rates * tau * jump**2)) / 2
    variance_y = float(np.sum(rates * tau * jump_y**2)) / 2
    slope = variance_y / variance if variance > 0 else 0.0
    low = high = 0.0
    if variance > 0:
        low = -_chernoff_bound(-jump, rates * tau, math.sqrt(variance))
        high = _chernoff_bound(jump, rates * tau, math.sqrt(variance))
    sd_y = math.sqrt(max(variance_y * (1 - slope), 0.0))
    relative = (jump_y - slope * jump) / sd_y if sd_y > 0 else np.zeros_like(jump)
    cumulants = [float(np.sum(rates * tau / n * relative**n)) for n in range(1, 2 * MAX_NODES + 1)]
    return Bombardment(
        jump=jump, jump_y=jump_y, conductance=conductance, rate=rates, tau=tau,
        tau_exc=neuron.tau_syn_exc, tau_inh=neuron.tau_syn_inh,
        mean_g=neuron.g_l + float(np.sum(rates * tau * conductance)),
        mean_x=float(np.sum(rates * tau * jump)), mean_y=float(np.sum(rates * tau * jump_y)),
        sd=math.sqrt(variance), slope=slope, sd_y=sd_y, cumulants=(0.0, 1.0, *cumulants[2:]),
        low=low, high=high, bounded_below=bool((jump > 0).all()), bounded_above=bool((jump < 0).all()),
    )  # fmt: skip


def _gauss_nodes(cumulants: tuple[float, ...], count: int) -> Array:
    """Nodes of the Gauss quadrature of the law with these cumulants: the eigenvalues of its Jacobi matrix."""
    moments = [1.0]
    for n in range(1, 2 * count):
        moments.append(sum(math.comb(n - 1, k - 1) * cumulants[k - 1] * moments[n - k] for k in range(1, n + 1)))
    index = np.add.outer(np.arange(count), np.arange(count))
    factor = np.linalg.inv(np.linalg.cholesky(np.array(moments)[index]))
    return np.linalg.eigvalsh(factor @ np.array(moments)[index + 1] @ factor.T)


def _chernoff_bound(jump: Array, counts: Array, sd: float) -> float:
    """Return x with P(shot noise > x) <= exp(-TAIL): min over t of (K(t) + TAIL)/t, K the cumulant function."""
    nodes, weights = leggauss(40)
    u, w = (nodes + 1) / 2, weights / 2
    t = np.geomspace(0.05, 400.0, 200) / sd
    t = t[t * max(float(jump.max()), 0.0) < 600.0]
    cumulant = np.expm1(t[:, None, None] * jump[:, None] * u) @ (w / u) @ counts
    bound = float(np.min((cumulant + TAIL) / t))
    return min(bound, 0.0) if (jump <= 0).all() else bound


# ---------------------------------------------------------------- the S-direction


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Sizes of cells: at S = 0 and v = 0 in units of the boundary layer, and their growth away from it."""

    s_near: float = 0.5
    s_far: float = 0.9
    s_growth: float = 0.6
    v_near: float = 0.15
    v_growth: float = 1.5

    def coarsened(self, factor: float, factor_v: float | None = None) -> Resolution:
        """Return the resolution with every cell larger by the factor, in v by another if one is given."""
        factor_v = factor if factor_v is None else factor_v
        return Resolution(
            s_near=self.s_near * factor, s_far=self.s_far * factor, s_growth=self.s_growth * factor,
            v_near=self.v_near * factor_v, v_growth=1 + (self.v_growth - 1) * factor_v,
        )  # fmt: skip


def _s_faces(
    low: float, high: float, near: float, rest: tuple[float, float] | None, far: float, growth: float
) -> Array:
    """Faces from low to high: graded towards S = 0, and towards S = rest[0] down to rest[1] if given."""
    centres = {0.0: near}
    if rest is not None:
        centres[rest[0]] = rest[1]
    inner = sorted(x for x in centres if low < x < high)
    if len(inner) == 2 and inner[1] - inner[0] < 0.1 * min(centres.values()):
        centres, inner = {0.0: min(centres.values())}, [0.0]
    ends = [low, *inner, high]
    pieces = []
    for left, right in pairwise(ends):
        faces = [left]
        while faces[-1] < right:
            x = faces[-1]
            # implicit on the far side, so that the spacing shrinks towards a centre as it grows away from one
            to_right = max(centres.get(right, far), growth / (1 + growth) * (right - x))
            width = min(far, max(centres.get(left, far), growth * (x - left)), to_right)
            width = min(width, *(max(size, growth * abs(x - c)) for c, size in centres.items()))
            faces.append(x + width)
        if len(faces) > 2 and faces[-1] - right > right - faces[-2]:
            faces.pop()
        pieces.append(left + (np.array(faces) - left) * ((right - left) / (faces[-1] - left)))
    return np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])


_NORM = np.sqrt(2 * np.arange(S_DEGREE + 1) + 1)
_XI, _W = leggauss(S_DEGREE + 2)
_P = legvander(_XI, S_DEGREE) * _NORM
_TIMES_XI = np.einsum("k,ki,kj->ij", _W / 2 * _XI, _P, _P)
_RIGHT, _LEFT = _NORM, _NORM * (-1.0) ** np.arange(S_DEGREE + 1)
# int phi_i' phi_j and int xi phi_i' phi_j in units of 1/h: (0 1 3 xi) are the derivatives of P_0 P_1 P_2
_DP = np.stack([0 * _XI, 2 + 0 * _XI, 6 * _XI], axis=1) * _NORM
_D0 = np.einsum("k,ki,kj->ij", _W / 2, _DP, _P)
_D1 = np.einsum("k,ki,kj->ij", _W / 2 * _XI, _DP, _P)


def _shift_matrix(faces: Array, jump: float) -> Array:
    """Matrix of f(S) -> f(S - jump) in the orthonormal basis; mass that would leave the grid stays where it is."""
    cells, q = len(faces) - 1, S_DEGREE + 1
    breaks = np.sort(np.concatenate([faces, np.clip(faces - jump, faces[0], faces[-1])]))
    left, right = breaks[:-1], breaks[1:]
    keep = right - left > 1e-13 * (faces[-1] - faces[0])
    middle, half = (left + right)[keep] / 2, (right - left)[keep] / 2
    origin = np.clip(np.searchsorted(faces, middle, side="right") - 1, 0, cells - 1)
    target = np.searchsorted(faces, middle + jump, side="right") - 1
    inside = (middle + jump > faces[0]) & (middle + jump < faces[-1])
    target = np.where(inside, np.clip(target, 0, cells - 1), origin)
    s = middle[:, None] + half[:, None] * _XI
    moved = np.where(inside[:, None], s + jump, s)

    def basis(cell: Array, at: Array) -> Array:
        width = faces[cell + 1] - faces[cell]
        return legvander(2 * (at - faces[cell][:, None]) / width[:, None] - 1, S_DEGREE) * (
            _NORM / np.sqrt(width)[:, None, None]
        )

    blocks = np.einsum("sk,ski,skj->sij", half[:, None] * _W, basis(target, moved), basis(origin, s))
    matrix = np.zeros((cells, cells, q, q))
    np.add.at(matrix, (target, origin), blocks)
    return matrix.transpose(0, 2, 1, 3).reshape(cells * q, cells * q)


def _drift_matrix(faces: Array, at_faces: Array) -> Array:
    """Matrix of f -> -d/dS (J f) for the velocity J, linear in each cell, upwind, without flux at the ends."""
    cells, q = len(faces) - 1, S_DEGREE + 1
    width = np.diff(faces)
    middle, half = (at_faces[1:] + at_faces[:-1]) / 2, (at_faces[1:] - at_faces[:-1]) / 2
    matrix = np.zeros((cells, q, cells, q))
    e = np.arange(cells)
    matrix[e, :, e, :] += (middle[:, None, None] * _D0 + half[:, None, None] * _D1) / width[:, None, None]
    k = np.arange(1, cells)
    flux = at_faces[1:-1, None, None]
    rightward = at_faces[1:-1] > 0
    source = np.where(rightward, k - 1, k)
    trace = np.where(rightward[:, None], _RIGHT, _LEFT) / np.sqrt(width[source])[:, None]
    out = (_RIGHT / np.sqrt(width[k - 1])[:, None])[:, :, None] * trace[:, None, :]
    into = (_LEFT / np.sqrt(width[k])[:, None])[:, :, None] * trace[:, None, :]
    matrix[k - 1, :, source, :] -= flux * out
    matrix[k, :, source, :] += flux * into
    return matrix.reshape(cells * q, cells * q)


# ---------------------------------------------------------------- both synaptic components


@dataclass(frozen=True, kw_only=True)
class Synapses:
    """The synaptic state on its grid: node-major cells (y-node, S-cell), orthonormal polynomials in each."""

    faces: Array  # of S, nA
    s_mid: Array  # shape (nodes * cells,)
    s_half: Array
    g_mid: Array  # G = g_mid + xi g_half, uS
    g_half: Array
    generator: Array  # forward, 1/ms
    mass: Array  # weights with mass @ f = int f


def build_synapses(neuron: Neuron, input_: Bombardment, s_mean: float, nodes: int, grid: Resolution) -> Synapses:
    """Return the grid in both synaptic directions and the matrices of jumps and decay on it."""
    base = s_mean - input_.mean_x
    layer = math.sqrt(min(1.0, neuron.c_m / input_.mean_g / max(input_.tau_exc, input_.tau_inh)))
    near, rest = grid.s_near * layer * input_.sd, None
    if float(np.sum(input_.rate * input_.tau)) < RARE:
        # below climb the drive decays before it lifts the membrane from reset to threshold
        climb = neuron.c_m * (neuron.v_thresh - neuron.v_reset) / max(input_.tau_exc, input_.tau_inh)
        rest = (base, min(0.3 * near, max(grid.s_near * climb, 1e-4 * input_.sd)))
    low, high = base + input_.low, base + input_.high
    faces = _s_faces(low, high, near, rest, grid.s_far * input_.sd, grid.s_growth)
    cells, q = len(faces) - 1, S_DEGREE + 1
    size = cells * q
    y_hat = _gauss_nodes(input_.cumulants, nodes)
    lagrange = _lagrange(y_hat)

    def y_at(s: Array, k: int) -> Array:
        return input_.mean_y + input_.slope * (s - s_mean) + input_.sd_y * y_hat[k]

    def multiply(at_faces: Array) -> Array:
        """Matrix that multiplies by a function, linear in each cell."""
        blocks = ((at_faces[1:] + at_faces[:-1]) / 2)[:, None, None] * np.eye(q)
        blocks = blocks + ((at_faces[1:] - at_faces[:-1]) / 2)[:, None, None] * _TIMES_XI
        matrix = np.zeros((cells, q, cells, q))
        matrix[np.arange(cells), :, np.arange(cells), :] = blocks
        return matrix.reshape(size, size)

    generator = np.zeros((nodes, size, nodes, size))
    shifts = [_shift_matrix(faces, jump) for jump in input_.jump]
    for jump, jump_y, rate, shift in zip(input_.jump, input_.jump_y, input_.rate, shifts):
        step = (jump_y - input_.slope * jump) / input_.sd_y if nodes > 1 else 0.0
        # a test polynomial T(y) becomes T(y + step): its values at the nodes come from its values at the nodes
        moved = lagrange(y_hat + step)
        for k in range(nodes):
            generator[k, :, k, :] -= rate * np.eye(size)
            for l in range(nodes):
                generator[l, :, k, :] += rate * moved[k, l] * shift
    slopes = lagrange.deriv(y_hat)
    for k in range(nodes):
        y = y_at(faces, k)
        drift = -(faces - base - y) / input_.tau_exc - y / input_.tau_inh
        generator[k, :, k, :] += _drift_matrix(faces, drift)
        if nodes > 1:
            relative = multiply((-y / input_.tau_inh - input_.slope * drift) / input_.sd_y)
            for l in range(nodes):
                generator[l, :, k, :] += slopes[k, l] * relative
    flat = generator.reshape(nodes * size, nodes * size)
    mass = np.tile((np.sqrt(np.diff(faces))[:, None] * np.eye(q)[0]).ravel(), nodes)
    if not isinstance(neuron, LIF) or not input_.conductance.any():
        g_faces = np.full((nodes, cells, 2), neuron.g_l)
    elif nodes == 1 and input_.tau_exc == input_.tau_inh:
        g_faces = _expected_conductance(neuron, input_, faces, flat, shifts, mass)[None]
    else:
        y = np.stack([y_at(faces, k) for k in range(nodes)])
        exc = (faces - base - y) / (neuron.e_rev_exc - neuron.v_thresh)
        g = np.maximum(neuron.g_l + exc + y / (neuron.e_rev_inh - neuron.v_thresh), neuron.g_l)
        g_faces = np.stack([g[:, :-1], g[:, 1:]], axis=-1)
    return Synapses(
        faces=faces, s_mid=np.tile((faces[1:] + faces[:-1]) / 2, nodes), s_half=np.tile(np.diff(faces) / 2, nodes),
        g_mid=g_faces.mean(axis=-1).ravel(), g_half=((g_faces[..., 1] - g_faces[..., 0]) / 2).ravel(),
        generator=flat, mass=mass,
    )  # fmt: skip


class _lagrange:
    """Lagrange polynomials of the nodes: rows of values or slopes at given points."""

    def __init__(self, nodes: Array) -> None:
        self._inverse = np.linalg.inv(np.vander(nodes, increasing=True))

    def __call__(self, at: Array) -> Array:
        return np.vander(at, len(self._inverse), increasing=True) @ self._inverse

    def deriv(self, at: Array) -> Array:
        count = len(self._inverse)
        powers = np.zeros((len(at), count))
        powers[:, 1:] = np.vander(at, count, increasing=True)[:, :-1] * np.arange(1, count)
        return powers @ self._inverse


def _expected_conductance(
    neuron: LIF, input_: Bombardment, faces: Array, generator: Array, shifts: list[Array], mass: Array
) -> Array:
    """Return E[G|S] at both ends of each cell: g = E[G - g_l; S] obeys (A - 1/tau) g + sum nu b (shifted m) = 0.

    m is the stationary density of S. Where it is too thin to divide by, E[G|S] is held constant.
    """
    cells, q = len(faces) - 1, S_DEGREE + 1
    system = generator.copy()
    system[0] = mass
    stationary = np.linalg.solve(system, np.eye(len(mass))[0])
    gained = sum(
        rate * b * (shift @ stationary) for rate, b, shift in zip(input_.rate, input_.conductance, shifts)
    )
    weighted = np.linalg.solve(np.eye(len(mass)) / input_.tau_exc - generator, gained)
    density, carried = (x.reshape(cells, q) @ _P.T for x in (stationary, weighted))
    flat_density, flat_carried = density.ravel(), carried.ravel()
    peak = int(np.argmax(flat_density))
    good = (flat_density > 1e-6 * flat_density[peak]) & (flat_carried > 0)
    bad = np.flatnonzero(~good)
    first = int(bad[bad < peak].max() + 1) if (bad < peak).any() else 0
    last = int(bad[bad > peak].min() - 1) if (bad > peak).any() else len(good) - 1
    ratio = np.empty(len(good))
    ratio[first : last + 1] = neuron.g_l + flat_carried[first : last + 1] / flat_density[first : last + 1]
    ratio[:first], ratio[last + 1 :] = ratio[first], ratio[last]
    g = ratio.reshape(cells, len(_XI))
    middle, half = g @ (_W / 2), 3 * g @ (_W / 2 * _XI)
    half = np.clip(half, -(middle - neuron.g_l), middle - neuron.g_l)
    return np.stack([middle - half, middle + half], axis=-1)


# ---------------------------------------------------------------- the v-direction


def _v_faces(lowest: float, reset: float, near: float, growth: float) -> tuple[Array, int]:
    """Faces from ``lowest`` (<= reset) to 0, graded towards 0, and the index of the face at the reset."""
    faces, width = [0.0], near
    while faces[-1] > lowest:
        faces.append(faces[-1] - width)
        width *= growth
    down = np.array(faces)
    if -reset < 0.7 * near:
        down = np.concatenate([[0.0, reset], down[1:]])
        at = 1
    else:
        at = max(int(np.argmin(np.abs(down - reset))), 1)
    upper, lower = down[: at + 1] * (reset / down[at]), np.array([reset])
    if lowest < reset:
        rest = down[at:] if len(down) > at + 1 else np.array([0.0, -1.0])
        lower = reset + (rest - rest[0]) * ((lowest - reset) / (rest[-1] - rest[0]))
    down = np.concatenate([upper, lower[1:]])
    return down[::-1].copy(), len(down) - 1 - at


_VX, _VW = leggauss(V_DEGREE + 2)
_VP = legvander(_VX, V_DEGREE)
_VDP = np.stack([0 * _VX, 1 + 0 * _VX], axis=1)
_V0 = np.einsum("k,ki,kj->ij", _VW, _VDP, _VP)
_V1 = np.einsum("k,ki,kj->ij", _VW * _VX, _VDP, _VP)
_V_MASS = 1 / (2 * np.arange(V_DEGREE + 1) + 1)
_V_SIGN = (-1.0) ** np.arange(V_DEGREE + 1)


def _positive_part(mid: Array, half: Array, factor_mid: Array, factor_half: Array) -> Array:
    """Blocks that multiply by factor(S) 1{V(S) > 0}, both linear in the cell: shape mid.shape + (q, q)."""
    q = S_DEGREE + 1
    whole = factor_mid[..., None, None] * np.eye(q) + factor_half[..., None, None] * _TIMES_XI
    blocks = np.where((mid > 0)[..., None, None], whole, 0.0)
    mixed = np.nonzero(np.abs(half) > np.abs(mid) * (1 + 1e-9))
    if len(mixed[0]):
        root = -mid[mixed] / half[mixed]
        xi = (1 + root)[:, None] / 2 + (1 - root)[:, None] / 2 * _XI
        basis = legvander(xi, S_DEGREE) * _NORM
        factor = factor_mid[mixed][:, None] + factor_half[mixed][:, None] * xi
        right = np.einsum("sk,ski,skj->sij", (1 - root)[:, None] / 4 * _W * factor, basis, basis)
        blocks[mixed] = np.where((half[mixed] > 0)[:, None, None], right, whole[mixed] - right)
    return blocks


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The v-direction: its faces, and what moves f across them (blocks that act within the S-cells)."""

    faces: Array  # of v, mV
    at_reset: int  # the face at v_reset
    speed: Array  # dv/dt at each face, shape (faces, cells, q, q)
    up: Array  # its positive part
    down: Array
    above: Array  # 1{dv/dt > 0} at v_reset, shape (cells, q, q)
    rising: Array  # where dv/dt > 0 in part of the cell, per unknown, shape (faces, unknowns)
    falling: Array

    def block(self, level: int, l: int, k: int) -> Array:
        """Return the advection within a level: test polynomial l, trial polynomial k, shape (cells, q, q)."""
        centre = (self.speed[level] + self.speed[level + 1]) / 2
        slope = (self.speed[level + 1] - self.speed[level]) / 2
        blocks = _V0[l, k] * centre + _V1[l, k] * slope - self.up[level + 1]
        return np.asarray(blocks + (_V_SIGN[l] * _V_SIGN[k]) * self.down[level])


def build_levels(neuron: Neuron, input_: Bombardment, synapses: Synapses, grid: Resolution) -> Levels:
    """Return the grid in v, from below every resting potential to threshold, and the velocities on it."""
    q = S_DEGREE + 1
    reset = neuron.v_reset - neuron.v_thresh
    lowest = min(
        reset,
        float(((synapses.s_mid - synapses.s_half) / (synapses.g_mid - synapses.g_half)).min()),
        float(((synapses.s_mid + synapses.s_half) / (synapses.g_mid + synapses.g_half)).min()),
    )
    tau_eff, tau_syn = neuron.c_m / input_.mean_g, max(input_.tau_exc, input_.tau_inh)
    layer = min(math.sqrt(tau_eff / tau_syn), tau_syn / tau_eff)
    z, at_reset = _v_faces(lowest, reset, grid.v_near * layer * input_.sd / input_.mean_g, grid.v_growth)
    speed_mid = (synapses.s_mid - synapses.g_mid * z[:, None]) / neuron.c_m
    speed_half = (synapses.s_half - synapses.g_half * z[:, None]) / neuron.c_m
    speed = speed_mid[..., None, None] * np.eye(q) + speed_half[..., None, None] * _TIMES_XI
    up = _positive_part(speed_mid, speed_half, speed_mid, speed_half)
    ones = np.ones(len(synapses.s_mid))
    mixed = np.abs(speed_half) > np.abs(speed_mid) * (1 + 1e-9)
    return Levels(
        faces=z, at_reset=at_reset, speed=speed, up=up, down=speed - up,
        above=_positive_part(speed_mid[at_reset], speed_half[at_reset], ones, 0 * ones),
        rising=np.repeat((speed_mid > 0) | mixed, q, axis=1),
        falling=np.repeat((speed_mid <= 0) | mixed, q, axis=1),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Occupation, spikes and releases of one point, as coefficients on the grid."""

    free_time: float  # mean, ms
    free_time_sq: float  # nan if not asked for
    free: Array  # coefficients, shape (v cells, v degree + 1, unknowns per level)
    at_spike: Array  # coefficients of pi, zero where S < 0
    at_release: Array
    v_faces: Array


def solve_levels(
    neuron: Neuron, input_: Bombardment, synapses: Synapses, grid: Resolution, *, second_moment: bool = True
) -> Solution:
    """Solve for f, level by level in v from below, with pi from the balance of spikes and releases."""
    q, order = S_DEGREE + 1, V_DEGREE + 1
    cells = len(synapses.s_mid)
    size = cells * q
    v = build_levels(neuron, input_, synapses, grid)
    z, at_reset, up, down, rising, falling = v.faces, v.at_reset, v.up, v.down, v.rising, v.falling
    levels = len(z) - 1

    def times(blocks: Array, x: Array) -> Array:
        return np.matmul(blocks, x.reshape(cells, q, -1)).reshape(size, -1)

    each = np.arange(cells)
    generator = synapses.generator
    factors: list[tuple[Array, Array]] = []

    def solve(level: int, right: Array, trans: int = 1) -> Array:
        # the factorised matrix is the transpose (row-major memory), so trans=1 solves the system itself
        return dgetrs(*factors[level], right.reshape(order * size, -1), trans=trans)[0].reshape(order, size, -1)

    reflected: tuple[Array, Array, Array] | None = None
    for level in range(levels):
        width = z[level + 1] - z[level]
        system = np.zeros((order, size, order, size))
        for l in range(order):
            system[l, :, l, :] = (width * _V_MASS[l]) * generator
            for k in range(order):
                system[l, :, k, :].reshape(cells, q, cells, q)[each, :, each, :] += v.block(level, l, k)
        if reflected is not None:
            rows, columns, block = reflected
            for l in range(order):
                for k in range(order):
                    system[l, :, k, :][np.ix_(rows, columns)] += (_V_SIGN[l] * _V_SIGN[k]) * block
        lu, pivots, info = dgetrf(system.reshape(order * size, order * size).T, overwrite_a=1)
        if info != 0:
            raise CalibrationError(f"density_response: the system of level {level} is singular (info {info})")
        factors.append((lu, pivots))
        reflected = None
        if level == levels - 1:
            break
        # what rises through the upper face per density that falls through it
        out, into = np.flatnonzero(rising[level + 1]), np.flatnonzero(falling[level + 1])
        if len(out) and len(into):
            unit = np.zeros((size, min(len(out), len(into))))
            if len(into) <= len(out):
                unit[into, np.arange(len(into))] = 1.0
                right = np.broadcast_to(times(down[level + 1], unit), (order, size, len(into)))
                traces = solve(level, right).sum(axis=0)
            else:
                unit[out, np.arange(len(out))] = 1.0
                right = np.broadcast_to(unit, (order, size, len(out)))
                rows_ = times(down[level + 1], solve(level, right, trans=0).sum(axis=0))
                traces = np.zeros((size, len(into)))
                traces[out] = rows_[into].T
            reflected = (out, into, times(up[level + 1], traces)[out])

    def sweep(source: Array, volume: Array | None) -> tuple[list[Array | None], Array]:
        """Return each level's particular solution and the outflow at threshold, for sources at the reset."""
        upper = times(v.above, source)
        particular: list[Array | None] = [None] * levels
        trace: Array | None = None
        for level in range(0 if volume is not None else max(at_reset - 1, 0), levels):
            right = np.zeros((order, size, source.shape[1]))
            if volume is not None:
                right[..., 0] -= (z[level + 1] - z[level]) * _V_MASS[:, None] * volume[level]
            if level == at_reset - 1:
                right -= source - upper
            if level == at_reset:
                right -= _V_SIGN[:, None, None] * upper
            if trace is not None:
                right -= _V_SIGN[:, None, None] * times(up[level], trace)
            found = solve(level, right)
            particular[level], trace = found, found.sum(axis=0)
        assert trace is not None
        return particular, times(up[levels], trace)

    def descend(particular: list[Array]) -> Array:
        """Return the solution: below each level add what falls from above."""
        solution = np.zeros((levels, order, size))
        falling_trace = np.zeros((size, 1))
        for level in range(levels - 1, -1, -1):
            solution[level] = particular[level]
            if level < levels - 1:
                right = np.broadcast_to(times(down[level + 1], falling_trace), (order, size, 1))
                solution[level] += solve(level, right)[..., 0]
            falling_trace = (_V_SIGN @ solution[level])[:, None]
        return solution

    mass, widths = synapses.mass, np.diff(z)
    fires = np.flatnonzero(np.repeat(synapses.s_mid > 0, q))
    refractory = expm(generator * neuron.tau_refrac)[:, fires]
    by_source, outflow = sweep(refractory, None)
    balance = np.eye(len(fires)) - outflow[fires]
    balance[0] = mass[fires]
    pi = np.linalg.solve(balance, np.eye(len(fires))[0])
    free = descend([np.zeros((order, size)) if x is None else x @ pi for x in by_source])
    square = math.nan
    if second_moment:
        again, _ = sweep(np.zeros((size, 1)), free)
        second = descend([x[..., 0] for x in again if x is not None])
        square = 2 * float(widths @ (second[:, 0] @ mass))
    at_spike = np.zeros(size)
    at_spike[fires] = pi
    return Solution(
        free_time=float(widths @ (free[:, 0] @ mass)), free_time_sq=square,
        free=free, at_spike=at_spike, at_release=refractory @ pi, v_faces=z,
    )  # fmt: skip

"""From a response curve to the logistic that stands for it: u0 and alpha, with errors and a verdict."""

from __future__ import annotations

from typing import Literal

import numpy as np

from boltzspike.errors import CalibrationError, require
from boltzspike.model.background import PoissonBackground, at_control, synaptic_shares
from boltzspike.model.description import Array, Given, Saved, description, frozen_array, set_field
from boltzspike.model.neuron import CONTROL_UNITS, Control, Neuron, with_control
from boltzspike.model.synapse import Synapse
from boltzspike.theory.logistic import fit_logistic
from boltzspike.theory.membrane import jumps, leverage, membrane_statistics
from boltzspike.units import ms, mV


@description
class ResponseCurve(Saved):
    """p(z=1) of a neuron against its mean effective potential."""

    mu: Given
    """Mean effective potential, shape (m,), mV."""
    p: Given
    """p(z=1), shape (m,)."""
    error: Given
    """Standard error of p (simulation) or bound on its error (theory), shape (m,)."""
    tau_refrac: ms
    method: str
    dt: ms | None = None
    """Time step of the simulation, or for which the theory was asked; ``None``: continuous time."""
    control: str = "mu"
    """What ``x`` is: ``"v_rest"``, ``"i_offset"``, ``"balance"`` or ``"mu"``."""
    x: Given = None
    """The control variable, shape (m,); ``None``: mu itself."""

    def __post_init__(self) -> None:
        """Validate."""
        for field in ("mu", "p", "error"):
            set_field(self, field, frozen_array(getattr(self, field), f"ResponseCurve.{field}", ndim=1))
        set_field(self, "x", self.mu if self.x is None else frozen_array(self.x, "ResponseCurve.x", ndim=1))
        lengths = {len(getattr(self, field)) for field in ("mu", "p", "error", "x")}
        require(len(lengths) == 1, "ResponseCurve", "of arrays of one length", sorted(lengths))

    @property
    def rate(self) -> Array:
        """Firing rate, shape (m,), Hz."""
        return np.asarray(self.p) / self.tau_refrac * 1e3


@description
class NetworkCalibration(Saved):
    """What small networks of this neuron taught about the parameters that a target needs: the learned rule."""

    synapse: Synapse
    """The recurrent synapse that it holds for."""
    features: tuple[str, ...]
    """Names of ``translation.learned.FEATURES``."""
    coefficients: Given
    """Shape (features,)."""
    families: tuple[str, ...]
    """Kinds of machines that were simulated."""
    family_errors: Given
    """Mean predicted D_KL of each family by the rule learned from the others, shape (families,)."""
    error_model: Given
    """Coefficients of the logarithm of the predicted D_KL, ``translation.learned.predicted_error``."""
    error_factor: float
    """Standard deviation of the logarithm of D_KL around that prediction, as a factor."""
    max_weight: float
    """Largest |W| among the machines."""
    max_row: float
    """Largest sum of |W| over the neighbours of a unit."""
    networks: int
    """Number of networks."""
    duration: ms
    """Biological time of each, all chains together."""
    dt: ms
    u0: mV
    """Of the calibration that it was learned with."""
    alpha: mV
    seed: int
    version: str

    def __post_init__(self) -> None:
        """Validate."""
        for field in ("coefficients", "family_errors", "error_model"):
            set_field(self, field, frozen_array(getattr(self, field), f"NetworkCalibration.{field}", ndim=1))
        for field in ("features", "families"):
            set_field(self, field, tuple(getattr(self, field)))
        for names, values in (("features", "coefficients"), ("families", "family_errors")):
            count = len(getattr(self, names))
            given = len(getattr(self, values))
            require(given == count, f"NetworkCalibration.{values}", f"{count} numbers, one a name", given)


@description
class Calibration(Saved):
    """The logistic of one neuron under one background: ``p(z=1) = 1/(1 + exp(-(mu - u0)/alpha))``.

    ``u0`` and ``alpha`` are mV of mean effective potential, whatever the control variable.
    """

    neuron: Neuron
    background: PoissonBackground
    control: Control
    """The variable that carries the bias."""
    u0: mV
    alpha: mV
    u0_error: mV
    alpha_error: mV
    rms: float
    """RMS deviation of the response from the logistic, over p in [.01, .99]."""
    max_deviation: float
    method: str
    dt: ms | None = None
    """Time step that it holds for; ``None``: continuous time, any dt to within the error of docs/theory.md."""
    points: int = 0
    """Number of points of the response curve."""
    simulated: ms = 0.0
    """Biological time of the simulated sweep, all points and chains together; 0: from theory."""
    version: str = ""
    """boltzspike version that made it."""
    network: NetworkCalibration | None = None
    """The learned translation rule, where one was made."""

    def __post_init__(self) -> None:
        """Validate."""
        known = self.control in CONTROL_UNITS
        require(known, "Calibration.control", f"one of {', '.join(CONTROL_UNITS)}", self.control)
        require(np.isfinite(self.u0), "Calibration.u0", "a finite number of mV", self.u0)
        require(np.isfinite(self.alpha) and self.alpha > 0, "Calibration.alpha", "> 0 mV", self.alpha)

    def control_at(self, bias: float) -> float:
        """Return the value of the control variable at which the neuron has the Boltzmann bias ``bias``."""
        mu = membrane_statistics(self.neuron, self.background).mu
        step = (self.u0 + self.alpha * bias - mu) / leverage(self.neuron, self.background, self.control)
        return control_value(self.neuron, self.control) + step

    def biased(self, bias: float) -> Neuron:
        """Return the neuron whose logistic sits at the Boltzmann bias ``bias``; see ``background_at``."""
        return at_control(self.neuron, self.background, self.control, self.control_at(bias))[0]

    def background_at(self, bias: float) -> PoissonBackground:
        """Return the background of the neuron biased by ``bias``: another one if ``control`` is the balance."""
        if self.control != "balance":
            return self.background
        return at_control(self.neuron, self.background, self.control, self.control_at(bias))[1]

    @property
    def bias_range(self) -> tuple[float, float]:
        """Least and greatest bias that the control variable can bring; infinite except for the balance."""
        if self.control != "balance":
            return -np.inf, np.inf
        excitatory, inhibitory = synaptic_shares(self.neuron, self.background)
        step, middle = self.alpha_control, self.control_at(0.0)
        return (-excitatory - middle) / step, (inhibitory - middle) / step

    @property
    def u0_control(self) -> float:
        """Value of the control variable at which p(z=1) is one half, in its units."""
        return self.control_at(0.0)

    def same_neuron(self, other: Calibration) -> bool:
        """Return whether both are of one neuron and background, but for the bias, and agree on u0 and alpha."""

        def unbiased(neuron: Neuron) -> Neuron:
            return with_control(with_control(neuron, "v_rest", 0.0), "i_offset", 0.0)

        return (
            unbiased(self.neuron) == unbiased(other.neuron)
            and self.background == other.background
            and abs(self.u0 - other.u0) < 0.02 * other.alpha
            and abs(self.alpha / other.alpha - 1) < 0.01
        )

    @property
    def alpha_control(self) -> float:
        """Alpha in units of the control variable: mV of v_rest, nA of i_offset, or share of the input moved."""
        return self.alpha / leverage(self.neuron, self.background, self.control)

    @property
    def verdict(self) -> Verdict:
        """What this neuron and background are good for."""
        return regime_verdict(self)


_WANTED_BIAS = 5.0
"""A control variable should reach biases of +- this."""

Regime = Literal["sampling", "borderline", "not sampling"]


@description
class Verdict:
    """A regime in one word, and the reasons with what to change."""

    regime: Regime
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """Return the verdict as text."""
        return f"{self.regime}: " + "; ".join(self.reasons)


def control_value(neuron: Neuron, control: Control) -> float:
    """Return the value that the control variable has now; a background as it is has the balance 0."""
    return 0.0 if control == "balance" else float(getattr(neuron, control))


def calibration_from_curve(
    curve: ResponseCurve,
    neuron: Neuron,
    background: PoissonBackground,
    *,
    control: Control,
    version: str,
    simulated: float = 0.0,
) -> Calibration:
    """Fit the logistic to a response curve.

    The error of u0 and alpha joins the misfit of the logistic with the error of the curve: the standard errors of
    a simulation propagate; for a theory, a common error d of p moves u0 by up to 4 alpha d and alpha by up to as
    much. ``simulated`` is the biological time that the curve took, ms.

    Raises
    ------
    CalibrationError
        Where the curve never leaves 0 or 1.
    """
    mu, p, error = (np.asarray(values) for values in (curve.mu, curve.p, curve.error))
    if p.max() < 0.5 or p.min() > 0.5:
        what = "never fires often enough" if p.max() < 0.5 else "never falls silent"
        raise CalibrationError(
            f"calibrate: the neuron {what}: p(z=1) runs from {p.min():.3g} to {p.max():.3g} over mean potentials "
            f"from {mu.min():.4g} to {mu.max():.4g} mV; it must cross one half"
        )
    measured = curve.method == "simulation"
    fit = fit_logistic(mu, p, error if measured else None)
    systematic = 0.0 if measured else 4 * fit.alpha * float(error.max())
    return Calibration(
        neuron=neuron,
        background=background,
        control=control,
        u0=fit.u0,
        alpha=fit.alpha,
        u0_error=float(np.hypot(fit.u0_error, systematic)),
        alpha_error=float(np.hypot(fit.alpha_error, systematic)),
        rms=fit.rms,
        max_deviation=fit.max_deviation,
        method=curve.method,
        dt=curve.dt,
        points=len(mu),
        simulated=simulated,
        version=version,
    )


def regime_verdict(calibration: Calibration) -> Verdict:
    """Judge the regime: speed of the membrane, reset, size of the jumps, misfit, leverage of the control."""
    neuron, background = calibration.neuron, calibration.background
    s = membrane_statistics(neuron, background)
    speed = s.tau_eff / s.tau_syn
    gap = (neuron.v_thresh - neuron.v_reset) / s.sigma
    faults, notes = [], []
    notes.append(f"g_tot/g_l = {s.g_tot / neuron.g_l:.3g}, tau_eff/tau_syn = {speed:.3g}")
    if speed > 0.5:
        faults.append(
            f"the membrane is too slow (tau_eff/tau_syn = {speed:.2g} > 0.5): raise the background rates"
        )
    if gap * speed > 0.05 or gap > 1.5:
        faults.append(
            f"v_reset lies {gap:.2g} sigma below threshold, so climbing back distorts the response: raise v_reset"
        )
    biggest = float(np.max(np.abs(jumps(neuron, background)[1]), initial=0.0)) / s.g_tot
    if biggest > 0.5 * s.sigma:
        faults.append(
            f"one input moves the potential by {biggest / s.sigma:.2g} sigma (shot noise): use more, weaker inputs"
        )
    if calibration.rms > 0.02:
        faults.append(f"the response deviates from a logistic by {calibration.rms:.3g} (RMS)")
    ratio = leverage(neuron, background, "v_rest")
    if calibration.control == "v_rest" and ratio < 0.1:
        faults.append(
            f"v_rest hardly moves the neuron ({ratio:.2g} mV per mV; one unit of bias takes "
            f"{calibration.alpha_control:.3g} mV): bias it by current, control='i_offset'"
        )
    if calibration.control == "balance":
        low, high = calibration.bias_range
        if low > -_WANTED_BIAS or high < _WANTED_BIAS:
            faults.append(
                f"the balance of the background reaches biases from {low:.3g} to {high:.3g} only: raise the "
                "rates, or bias the neuron by current, control='i_offset'"
            )
        ends = [max(low, -_WANTED_BIAS), min(high, _WANTED_BIAS)]
        sigma = [membrane_statistics(neuron, calibration.background_at(bias)).sigma for bias in ends]
        notes.append(
            f"sigma goes from {sigma[0]:.3g} to {sigma[1]:.3g} mV as the balance goes from bias {ends[0]:.2g} to "
            f"{ends[1]:.2g}"
        )
    notes.append(
        f"response within {calibration.rms:.2g} (RMS), {calibration.max_deviation:.2g} (max) of a logistic"
    )
    severe = speed > 0.5 or calibration.rms > 0.03
    regime: Regime = "not sampling" if severe else "borderline" if faults else "sampling"
    return Verdict(regime=regime, reasons=(*faults, *notes))

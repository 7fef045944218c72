"""The recurrent synapse between two sampling neurons."""

from __future__ import annotations

from numbers import Integral
from typing import Literal, get_args

from boltzspike.errors import require
from boltzspike.model.description import description, set_number
from boltzspike.units import ms

Plasticity = Literal["renewing", "additive", "tsodyks-markram"]
_SHORT_TERM = ("U", "tau_rec", "tau_fac")


@description
class Synapse:
    """How a spike of one sampling neuron acts on another: it raises the target's synaptic variable by ``w A_n``.

    ``w`` is the weight in the network, what a spike after a long rest adds. For the n-th spike of the source, an
    interval T after the one before:

    - ``"renewing"``: ``A_n = 1 - exp(-T/tau_syn)`` with the target's tau_syn: the trace of the synapse is set
      back to its full value, whatever was left of the spike before.
    - ``"additive"``: ``A_n = 1``.
    - ``"tsodyks-markram"``: ``A_n = u_n R_n / U``; the utilization u and the resources R of the source follow

      ``u_n = U + u_(n-1) (1 - U) exp(-T/tau_fac)``, ``u_1 = U``

      ``R_n = 1 - (1 - R_(n-1) (1 - u_(n-1))) exp(-T/tau_rec)``, ``R_1 = 1``

    The third has the other two as limits, exactly: ``U = 1, tau_rec = tau_syn, tau_fac = 0`` is renewing (where
    all targets share that tau_syn), ``U = 1, tau_rec = 0`` is additive. The literature's absolute efficacy, and
    the weight of NEST's ``tsodyks2_synapse``, is ``w / U``. Tsodyks and Markram, PNAS 94, 719 (1997); the closed
    form from spike to spike as in Maass and Markram, Neural Networks 15, 155 (2002).

    *Shape.* With ``teeth = m`` a coupling is m + 1 parallel synapses, where a spike arrives tau_refrac/m apart.
    m - 1 of them raise the variable, which has decayed to ``q = exp(-tau_refrac/(m tau_syn))``, to its full value
    again, by ``1 - q``. The last, of the opposite sign, takes q away after tau_refrac. So the PSP lasts as long as
    the state z = 1: with one tooth it is an exponential that is cut, with many a rectangle. It is what a chain of
    relay neurons with an inhibitory link at its end does (Probst et al., Front. Comput. Neurosci. 9, 13, 2015).
    Of conductances, the opposite one weighs the same at threshold: the drive is cut, the conductance fades. It
    needs one tau_syn, and synapses that do not renew their trace.
    """

    plasticity: Plasticity = "renewing"
    """``"renewing"``, ``"additive"`` or ``"tsodyks-markram"``."""
    delay: ms | None = None
    """From the spike to its arrival, a multiple of dt and at least dt; ``None``: one dt."""
    jitter: ms = 0.0
    """Each spike arrives later by a time of its own, the same at all its targets: uniform over the multiples of dt
    from 0 to this, which is shorter than tau_refrac. What the spike carries, A_n, stays that of its emission."""
    U: float | None = None
    """Tsodyks-Markram: share of the resources that a spike after rest uses, in (0, 1]."""
    tau_rec: ms | None = None
    """Tsodyks-Markram: time constant of recovery, >= 0."""
    tau_fac: ms | None = None
    """Tsodyks-Markram: time constant of facilitation, >= 0; 0 (the default there): none."""
    teeth: int | None = None
    """Parallel synapses that shape the PSP, see below; ``None``: there is one, with its exponential tail."""

    def __post_init__(self) -> None:
        """Validate."""
        known = get_args(Plasticity)
        allowed = f"{', '.join(map(repr, known[:-1]))} or {known[-1]!r}"
        require(self.plasticity in known, "Synapse.plasticity", allowed, self.plasticity)
        if self.delay is not None:
            set_number(self, "delay", above=0.0, unit="ms")
        set_number(self, "jitter", unit="ms")
        require(self.jitter >= 0, "Synapse.jitter", ">= 0 ms", self.jitter)
        if self.teeth is not None:
            whole = isinstance(self.teeth, Integral) and not isinstance(self.teeth, bool) and self.teeth >= 1
            require(whole, "Synapse.teeth", "None, or an integer of at least 1", self.teeth)
            object.__setattr__(self, "teeth", int(self.teeth))
            allowed = "'additive' or 'tsodyks-markram' where teeth are given: a renewed trace has no tail to cut"
            require(self.plasticity != "renewing", "Synapse.plasticity", allowed, self.plasticity)
        if self.plasticity != "tsodyks-markram":
            for name in _SHORT_TERM:
                value = getattr(self, name)
                require(value is None, f"Synapse.{name}", "None unless plasticity is 'tsodyks-markram'", value)
            return
        if self.tau_fac is None:
            object.__setattr__(self, "tau_fac", 0.0)
        for name in _SHORT_TERM:
            set_number(self, name, unit="" if name == "U" else "ms")
        assert self.U is not None
        assert self.tau_rec is not None
        assert self.tau_fac is not None
        require(0 < self.U <= 1, "Synapse.U", "in (0, 1]", self.U)
        require(self.tau_rec >= 0, "Synapse.tau_rec", ">= 0 ms", self.tau_rec)
        require(self.tau_fac >= 0, "Synapse.tau_fac", ">= 0 ms", self.tau_fac)

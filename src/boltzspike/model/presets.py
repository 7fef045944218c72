"""Named parameter sets of the literature."""

from __future__ import annotations

from boltzspike.errors import ValidationError, suggestion
from boltzspike.model.background import PoissonBackground
from boltzspike.model.description import description
from boltzspike.model.neuron import LIF, Control, CurrentLIF, Neuron


@description
class Preset:
    """A neuron, its background, and the variable that sets its bias."""

    name: str
    neuron: Neuron
    background: PoissonBackground
    control: Control
    """The variable by which this set is biased: ``"v_rest"`` or ``"i_offset"``."""
    source: str
    """Where the numbers come from."""


S1 = Preset(
    name="S1",
    neuron=LIF(
        c_m=0.2, tau_m=1.0, v_rest=-50.0, v_reset=-50.001, v_thresh=-50.0, tau_refrac=10.0,
        tau_syn_exc=10.0, tau_syn_inh=10.0, e_rev_exc=0.0, e_rev_inh=-100.0,
    ),
    background=PoissonBackground(rates=[3000.0, 3000.0], weights=[0.001, -0.001]),
    control="v_rest",
    source="tutorial parameters of the sbs package; neuron of arXiv:1601.00909 with reset just below threshold",
)  # fmt: skip

S2 = Preset(
    name="S2",
    neuron=LIF(
        c_m=0.1, tau_m=20.0, v_rest=-55.0, v_reset=-53.0, v_thresh=-52.0, tau_refrac=10.0,
        tau_syn_exc=10.0, tau_syn_inh=10.0, e_rev_exc=0.0, e_rev_inh=-90.0,
    ),
    background=PoissonBackground(rates=[5000.0, 5000.0], weights=[0.001, -0.00136]),
    control="i_offset",
    source="slow-leak neuron (g_l = 5 nS) after arXiv:1311.3211, biased by current, reset 1 mV below threshold",
)  # fmt: skip

S5a = Preset(
    name="S5a",
    neuron=CurrentLIF(
        c_m=0.2, tau_m=1.0, v_rest=-50.0, v_reset=-50.001, v_thresh=-50.0, tau_refrac=10.0,
        tau_syn_exc=10.0, tau_syn_inh=10.0,
    ),
    background=PoissonBackground(rates=[1000.0, 1000.0], weights=[0.2, -0.2]),
    control="v_rest",
    source="current-based counterpart of S1",
)  # fmt: skip

thesis = Preset(
    name="thesis",
    neuron=LIF(
        c_m=0.1, tau_m=20.0, v_rest=-52.0, v_reset=-53.0, v_thresh=-52.0, tau_refrac=10.0,
        tau_syn_exc=10.0, tau_syn_inh=10.0, e_rev_exc=0.0, e_rev_inh=-90.0,
    ),
    background=PoissonBackground(rates=[5000.0, 5000.0], weights=[0.0035, -0.0055]),
    control="i_offset",
    source="M. A. Petrovici, Form Versus Function (PhD thesis, Heidelberg 2015); g_tot/g_l = 91: current bias",
)  # fmt: skip

dodo = Preset(
    name="dodo",
    neuron=LIF(
        c_m=0.1, tau_m=1.0, v_rest=-52.0, v_reset=-53.0, v_thresh=-52.0, tau_refrac=10.0,
        tau_syn_exc=10.0, tau_syn_inh=10.0, e_rev_exc=0.0, e_rev_inh=-90.0,
    ),
    background=PoissonBackground(rates=[2000.0, 2000.0], weights=[0.001, -0.0035]),
    control="v_rest",
    source="'dodo' parameters used with the sbs package",
)  # fmt: skip

ALL: dict[str, Preset] = {preset.name: preset for preset in (S1, S2, S5a, thesis, dodo)}


def preset(name: str) -> Preset:
    """Return the preset of that name, or raise ``ValidationError`` naming the closest."""
    if name not in ALL:
        raise ValidationError(f"preset: no set named {name!r}{suggestion(name, ALL)}")
    return ALL[name]

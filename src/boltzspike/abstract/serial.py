"""The kernel of neural sampling beyond the exact case: any response, recovery and PSP; float64, chain by chain."""

from __future__ import annotations

import numba
import numpy as np

from boltzspike import streams

_philox4x32 = numba.njit(inline="always")(streams.philox4x32)


@numba.njit(nogil=True, cache=True)
def run_chain(
    start, steps, chain, key, age, traces, biases, tau, recovery, chance, trace, decay, height, starts, neighbours,
    couplings, every, states,
):  # fmt: skip
    """Advance one chain; ``states`` int8 (draws, units). Without traces (0) ``traces`` holds z itself.

    ``chance`` tabulates f(u) on [-12, 12] in steps of 1/200.
    """
    n = len(age)
    drawn = 0
    words = (np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0))
    for step in range(start, start + steps):
        low, high = np.uint64(step & 0xFFFFFFFF), np.uint64(step >> 32)
        for k in range(n):
            if k % 4 == 0:
                words = _philox4x32(low, high, np.uint64(k), chain, key[0], key[1])
            u = biases[k]
            for e in range(starts[k], starts[k + 1]):
                u += couplings[e] * traces[neighbours[e]]
            place = (min(max(u, -11.999), 11.999) + 12.0) * 200.0
            i = int(place)
            f = chance[i] + (place - i) * (chance[i + 1] - chance[i])
            if (float(words[k % 4]) + 0.5) * 2.0**-32 < f * recovery[age[k]]:
                age[k] = tau
                traces[k] = height + (traces[k] if trace == 2 else 0.0)
            else:
                age[k] = max(age[k] - 1, 0)
                if trace == 0 and age[k] == 0:
                    traces[k] = 0.0
            if trace:
                traces[k] *= decay
        if every and (step + 1) % every == 0:
            for k in range(n):
                states[drawn, k] = age[k] > 0
            drawn += 1

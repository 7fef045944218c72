"""The engine of this room. It imports numba-cuda when it is made, so a list of engines costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from boltzspike.engines import check_features
from boltzspike.errors import MissingDependency, MissingDevice, require
from boltzspike.program import Program

if TYPE_CHECKING:
    from boltzspike.engines.cuda.runner import CudaRunner


class CudaEngine:
    """One NVIDIA GPU: exact exponential and exact Poisson counts, those of the reference engine, in float32."""

    name = "cuda"
    features = frozenset({"conductance", "current", "renewing", "additive", "clamp", "sparse"})
    chain_keyed = True

    def __init__(self, *, threads: int | None = None, dtype: Any = np.float32) -> None:
        """Find the GPU, or raise; ``threads`` is ignored.

        Parameters
        ----------
        dtype
            Of the state: ``float32``, or ``float64``, whose spikes are those of ``numba-exact``.

        Raises
        ------
        MissingDependency
            Without numba-cuda.
        MissingDevice
            Without a GPU.
        """
        require(dtype in (np.float32, np.float64), "CudaEngine.dtype", "float32 or float64", dtype)
        self.dtype = np.dtype(dtype)
        find_device()

    def prepare(self, program: Program) -> CudaRunner:
        """Return a runner."""
        from boltzspike.engines.cuda.runner import CudaRunner

        check_features(self, program)
        return CudaRunner(program, dtype=self.dtype)


def find_device() -> str:
    """Return the name of the GPU that is used, or raise."""
    try:
        import numba_cuda  # noqa: F401  numba's own numba.cuda is no longer developed
        from numba import config, cuda
        from numba.cuda.cudadrv.driver import driver
    except ImportError:
        raise MissingDependency('the cuda engine needs numba-cuda: pip install "boltzspike[cuda]"') from None
    if config.ENABLE_CUDASIM:  # type: ignore[attr-defined]
        return "the CUDA simulator"
    if not cuda.is_available():
        reason = str(driver.initialization_error or "no GPU").strip().splitlines()[0].rstrip(".")
        raise MissingDevice(
            f"the cuda engine found no NVIDIA GPU to run on ({reason}); engine='numba' runs on the CPU. A few "
            "units can be run for some steps in numba's simulator: set NUMBA_ENABLE_CUDASIM=1 before Python starts"
        )
    device = cuda.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
    return f"{name} (compute capability {'.'.join(map(str, device.compute_capability))})"

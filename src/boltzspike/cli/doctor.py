"""boltzspike doctor."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Show versions and engines, and run a short self-test."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import numpy as np

    from boltzspike import pipeline
    from boltzspike.engines import REGISTRY, get_engine
    from boltzspike.errors import MissingDevice
    from boltzspike.model.boltzmann import BoltzmannMachine

    print(f"python {platform.python_version()} on {platform.machine()}")
    for package in _packages():
        try:
            print(f"{package} {version(package)}")
        except PackageNotFoundError:
            print(f"{package} is not installed")
    for name in REGISTRY:
        try:
            get_engine(name)
            print(f"engine {name}: available")
        except (ImportError, MissingDevice) as error:
            print(f"engine {name}: not available ({error})")
    machine = BoltzmannMachine(weights=[[0.0, 0.5], [0.5, 0.0]], biases=[-0.3, 0.2])
    result = pipeline.sample(machine, duration=1e4, chains=16)
    truth = result.exact()
    assert truth is not None
    worst = float(np.max(np.abs(result.marginals() - truth.marginals)))
    # the psp rule is off by up to .02 here, and the sampling noise at this length is .005
    ok = worst < 0.05
    outcome = "passed" if ok else "FAILED"
    print(f"self-test: {outcome} (largest marginal error {worst:.3f}, {result.speed:.0f} x real time)")
    if not ok:
        raise typer.Exit(1)


def _packages() -> list[str]:
    """Return boltzspike and the packages that it and its extras name, those for its development aside."""
    import re
    from importlib.metadata import requires

    wanted = [text for text in requires("boltzspike") or () if not re.search(r"extra == .dev.", text)]
    names = [match[0] for text in wanted if (match := re.match(r"[\w.-]+", text))]
    return list(dict.fromkeys(["boltzspike", *names]))

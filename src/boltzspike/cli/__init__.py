"""The command line: parse, call the pipeline, write. Heavy imports happen inside the commands."""

from __future__ import annotations

import functools
import importlib.metadata
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from boltzspike.cli.doctor import doctor
from boltzspike.cli.export import export
from boltzspike.cli.learning import classify, complete, generate, train
from boltzspike.cli.responses import calibrate, design, response
from boltzspike.cli.sample import sample
from boltzspike.cli.show import compare, show
from boltzspike.cli.tune import tune


def saying_that_it_was_interrupted(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command; stopped by a signal, it says so and exits with 128 + that, where Typer is silent."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt as stop:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(128 + getattr(stop, "signal", signal.SIGINT)) from None

    return run


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Neural sampling with leaky integrate-and-fire neurons in the high-conductance state.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(importlib.metadata.version("boltzspike"))
        raise typer.Exit


@app.callback()
def every_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take what holds for every command."""


for command in (
    sample, tune, calibrate, design, response, train, generate, classify, complete, export, show, compare, doctor,
):  # fmt: skip
    app.command()(saying_that_it_was_interrupted(command))


def main() -> None:
    """Run the command line; an error of ours is one line on stderr and exit code 2, a warning one line."""
    from boltzspike.errors import BoltzspikeError

    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        app(standalone_mode=True)
    except BoltzspikeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

"""The command line: one typed function per verb; bad input ends with one line on stderr and exit code 2."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Callable

import tyro
from rich.logging import RichHandler

from chronosplat.cli.capture import multiview, reconstruct
from chronosplat.cli.common import console
from chronosplat.cli.evaluation import evaluate
from chronosplat.cli.scene import demo, export, info, render
from chronosplat.cli.training import data_render, train
from chronosplat.shapes import InputError, UnavailableError

VERBS: dict[str, Callable[..., None]] = {
    "reconstruct": reconstruct,
    "multiview": multiview,
    "render": render,
    "export": export,
    "eval": evaluate,
    "train": train,
    "demo": demo,
    "info": info,
}
FLAT = (tyro.conf.OmitArgPrefixes,)  # --prompt, not --sequence.drawing.prompt
ABOUT = "Videos to 4D Gaussian splats in one feed-forward pass. Besides the verbs below: chronosplat data render."
DATA_VERBS: dict[str, Callable[..., None]] = {"render": data_render}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 0, or 2 for bad input, with one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(
        level="INFO", format="%(message)s", handlers=[RichHandler(console=console, show_time=False, show_path=False)], force=True
    )
    logging.getLogger("httpx").setLevel("WARNING")
    table, prog = VERBS, "chronosplat"
    if arguments[:1] == ["data"]:
        table, prog, arguments = DATA_VERBS, "chronosplat data", arguments[1:]
        if len(table) == 1 and arguments[:1] == ["render"]:  # a single verb takes no name in tyro
            prog, arguments = "chronosplat data render", arguments[1:]
    try:
        if len(table) == 1:
            tyro.cli(next(iter(table.values())), prog=prog, args=arguments, config=FLAT)
        else:
            tyro.extras.subcommand_cli_from_dict(table, prog=prog, args=arguments, description=ABOUT, config=FLAT)
    except (InputError, UnavailableError) as error:
        return fail(str(error))
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            return fail(f"the disk is full ({error.filename or error}); free some space, nothing half-written was left")
        return fail(str(error))
    except KeyboardInterrupt:
        return fail("interrupted; what a long l4gm run has done is kept, and the same command goes on")
    return 0


def fail(message: str) -> int:
    """One line on stderr, exit code 2."""
    print(f"chronosplat: {' '.join(message.split())}", file=sys.stderr)
    return 2


def entry() -> None:
    """The console script."""
    sys.exit(main())


__all__ = ["entry", "main"]

"""The command line: one frozen dataclass per verb, each in a file that is imported when the verb runs.

Bad input ends with one line on stderr and exit code 2, Ctrl-C with exit code 130.
"""

from __future__ import annotations

import errno
import sys
from functools import partial
from importlib import import_module

import chronosplat

# verb -> file, class, and the line in the list of verbs
VERBS = {
    "reconstruct": ("reconstruct", "Reconstruct", "turn a capture or a video into a 4D Gaussian scene"),
    "multiview": ("reconstruct", "Multiview", "generate views around an object from an image or a text"),
    "render": ("scene", "Render", "render a scene as a video or images, along any camera path"),
    "view": ("view", "View", "show a scene in the browser, live"),
    "export": ("export", "Export", "write a scene file in a format of other tools"),
    "convert": ("export", "Convert", "convert splat files and sequences"),
    "edit": ("edit", "EditScene", "crop, clean, move, retime, recolour, merge and decimate scenes"),
    "eval": ("evaluation", "Eval", "measure a model on captures, beside baselines"),
    "train": ("training", "Train", "train a 4D-LRM on procedural objects and .glb files"),
    "data render": ("data", "DataRender", "render animated .glb files to a data set of clips, or one of them as a capture"),
    "data status": ("data", "DataStatus", "say how far a data set is, wherever it is being rendered"),
    "data pack": ("shards", "Pack", "pack captures and other layouts into shards, or shards into other layouts"),
    "data inspect": ("shards", "Inspect", "describe a data set: statistics and a contact sheet"),
    "data verify": ("shards", "Verify", "find damaged shards and the clips that are lost"),
    "demo": ("scene", "Demo", "make a moving creature, reconstruct it, and compare"),
    "info": ("scene", "Info", "describe the installation, or a scene, weights or capture file"),
}
RESUMABLE = {"reconstruct", "train", "data render"}  # the same command resumes them


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 0; 2 for bad input, with one line on stderr; 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments in ([], ["--help"], ["-h"]):
        print(overview())
        return 0
    if arguments == ["--version"]:
        print(chronosplat.__version__)
        return 0
    verb = next((name for name in VERBS if arguments[: name.count(" ") + 1] == name.split()), None)
    if verb is None:
        group = [name for name in VERBS if name.split()[0] == arguments[0]]
        problem = f"{arguments[0]}: needs one of {', '.join(group)}" if group else f"unknown verb {arguments[0]!r}"
        return fail(f"{problem}; see chronosplat --help")
    return run(verb, arguments[verb.count(" ") + 1 :])


def overview() -> str:
    """The list of verbs."""
    width = max(len(verb) for verb in VERBS)
    lines = [f"  {verb:<{width}}  {about}" for verb, (_, _, about) in VERBS.items()]
    options = [f"  {'--version':<{width}}  print the version", "", "chronosplat VERB --help shows options and examples."]
    return "\n".join(["usage: chronosplat VERB [options]", "", "Videos and posed images to 4D Gaussian splats.", "", *lines, *options])


def run(verb: str, arguments: list[str]) -> int:
    """Parse a verb's options and run it."""
    import logging

    import tyro
    from rich.logging import RichHandler

    from chronosplat.cli.common import as_flag, console
    from chronosplat.shapes import MessageError

    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.basicConfig(level="INFO", format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel("WARNING")
    file, name, _ = VERBS[verb]
    try:
        kind = getattr(import_module(f"chronosplat.cli.{file}"), name)
        flat = (tyro.conf.OmitArgPrefixes,) if getattr(kind, "FLAT", True) else ()  # --prompt, not --sequence.generation.prompt
        parse = getattr(kind, "parse", None) or partial(tyro.cli, kind, prog=f"chronosplat {verb}", config=flat)
        parse(args=arguments).run()
    except MessageError as error:
        return fail(error.spelled(as_flag))
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            return fail(f"the disk is full ({error.filename or error}); free some space, nothing half-written was left")
        return fail(str(error))
    except KeyboardInterrupt as interrupt:
        from chronosplat.cli.common import Interrupted

        kept = "the result so far was saved" if isinstance(interrupt, Interrupted) else ""
        resume = "the same command resumes what was finished" if verb in RESUMABLE and not kept else ""
        return fail("; ".join(filter(None, ["interrupted", kept, resume])), 130)
    return 0


def fail(message: str, code: int = 2) -> int:
    """One line on stderr, and the exit code."""
    print(f"chronosplat: {' '.join(message.split())}", file=sys.stderr)
    return code


def entry() -> None:
    """The console script."""
    sys.exit(main())

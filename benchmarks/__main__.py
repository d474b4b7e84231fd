"""`python -m benchmarks NAME|all`: times beside a peer's, with the machine's peak in the same run.

Two have no peer: `growth` times work as it grows, `variants` other ways of doing it. `--freeze` replaces what
chapter 11 shows: in book/results, or in its folder gpu where there is a GPU.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer

from afd_study.errors import SpecError, unknown_name
from afd_study.study import frozen
from benchmarks import evaluation, growth, records, sampling, scoring, shapes, study, timing, variants


def _trainer(name: str, model: str, device: torch.device) -> timing.Pair:
    """Return a benchmark of `trainers`, which needs TRL."""
    try:
        from benchmarks import trainers
    except ModuleNotFoundError as fault:
        raise SpecError(f"{fault.name} is missing: pip install -e '.[bench]'") from fault
    if name == "sft":
        return trainers.sft(model, device)
    return trainers.reward_model(model, device, loss="bce" if name == "discriminator" else "bradley_terry")


SMALL, MORE, ON_GPU = ("1M", "10M"), ("1M", "10M", "124M"), ("124M", "gemma-2b")
BENCHMARKS: dict[str, tuple[Callable[[str, torch.device], timing.Pair], tuple[str, ...]]] = {
    "sft": (partial(_trainer, "sft"), MORE),
    "reward_model": (partial(_trainer, "reward_model"), SMALL),
    "discriminator": (partial(_trainer, "discriminator"), SMALL),
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
}


def main(
    name: Annotated[str, typer.Argument(help="a benchmark, `all` of them, `growth` or `variants`")],
    json: Annotated[Path | None, typer.Option(help="write the records here")] = None,
    freeze: Annotated[bool, typer.Option("--freeze", help="all, growth, variants: for chapter 11")] = False,
    model: Annotated[str | None, typer.Option(help="one model's shape instead of all")] = None,
    pairs: Annotated[int, typer.Option(help="interleaved repeats")] = 5,
    threads: Annotated[int, typer.Option(help="of the CPU; 0: as torch has it")] = 0,
) -> None:
    """Check that both sides do the same, time them in turns, print a table and write records.

    One that fails is told, and the others go on; the exit status is then 1.
    """
    _refuse(name, json, freeze, model)
    if threads:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name in WITHOUT_PEER:
        tables, about = WITHOUT_PEER[name](device, pairs, [model] if model else _models("sft", device))
        if freeze:
            _freeze(name, device, tables, repeats=pairs, **about)
        return
    found, peak, failed = _compare_all(list(BENCHMARKS) if name == "all" else [name], model, device, pairs)
    print(records.table(found))
    if json is not None:
        records.write(found, json, peak=peak, threads=torch.get_num_threads())
    if freeze:
        table = pd.DataFrame([each.model_dump() for each in found])
        about = {"peak_gflops": round(peak / 1e9, 1), "failed": failed}
        _freeze("benchmarks", device, {"records": table}, **about)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _refuse(name: str, json: Path | None, freeze: bool, model: str | None) -> None:
    """Raise SpecError for what cannot be done together."""
    if name not in ("all", *WITHOUT_PEER, *BENCHMARKS):
        raise unknown_name("benchmark", name, [*BENCHMARKS, *WITHOUT_PEER, "all"])
    if name in WITHOUT_PEER and json is not None:
        raise SpecError(f"`{name}` has no peer, and so no records: leave --json out, or --freeze it")
    if name == "growth" and model is not None:
        raise SpecError("`growth` takes models of its own along each axis: leave --model out")
    if freeze and (name in BENCHMARKS or model is not None):
        raise SpecError(
            "--freeze replaces a table of chapter 11: it takes `all`, `growth` or `variants`, of all models"
        )


def _compare_all(
    names: Sequence[str], model: str | None, device: torch.device, pairs: int
) -> tuple[list[records.Record], float, list[str]]:
    """Return the records of benchmarks, the highest peak probed (FLOP/s), and what failed."""
    found, peak, failed = [], 0.0, []
    for name in names:
        for shape in [model] if model else _models(name, device):
            try:
                record, probed = _compare(name, shape, device, pairs)
            except SpecError:
                raise
            except Exception as fault:  # such as no memory: what others took hours for is not lost to it
                if len(names) == 1:
                    raise
                print(f"{name}, {shape}: {type(fault).__name__}: {fault}", file=sys.stderr, flush=True)
                failed.append(f"{name}, {shape}")
                continue
            print(records.table([record]), flush=True)
            found.append(record)
            peak = max(peak, probed)
    return found, peak, failed


def _models(name: str, device: torch.device) -> tuple[str, ...]:
    """Return the models that a benchmark runs with where it is run."""
    of_models = set(BENCHMARKS[name][1]) <= set(shapes.SHAPES)
    return ON_GPU if of_models and device.type == "cuda" else BENCHMARKS[name][1]


def _compare(name: str, model: str, device: torch.device, pairs: int) -> tuple[records.Record, float]:
    """Return a benchmark's record, and the peak probed before and after it, in FLOP/s."""
    pair = BENCHMARKS[name][0](model, device)
    pair.check()
    before = timing.matmul_peak(device, shapes.precision(device))
    ours, peer = timing.interleave(pair.ours, pair.peer, pairs=pairs, device=device)
    peak = max(before, timing.matmul_peak(device, shapes.precision(device)))
    found = records.record(
        name=name, model=model, peer_name=pair.peer_name, ours=ours, peer=peer, flops=pair.flops,
        tokens=pair.tokens, peak=peak,
    )  # fmt: skip
    return found, peak


Found = tuple[dict[str, pd.DataFrame], dict[str, Any]]  # tables by name, and more about them


def _grow(device: torch.device, repeats: int, models: Sequence[str]) -> Found:
    """Time work along axes; its models are its own."""
    measured = growth.measure(device, repeats)
    found = growth.exponents(measured)
    print(found.round(2).to_string(index=False))
    return {"growth": measured, "exponents": found}, {"base": growth.BASE._asdict()}


def _vary(device: torch.device, repeats: int, models: Sequence[str]) -> Found:
    found = variants.measure(models, device, repeats)
    print(found.round(4).to_string(index=False))
    return {"variants": found}, {}


def _freeze(name: str, device: torch.device, tables: Mapping[str, pd.DataFrame], **about: Any) -> None:
    where = f"gpu/{name}" if device.type == "cuda" else name
    print(f"frozen in {frozen.freeze(where, tables, threads=torch.get_num_threads(), **about)}")


WITHOUT_PEER: dict[str, Callable[[torch.device, int, Sequence[str]], Found]] = {
    "growth": _grow, "variants": _vary,
}  # fmt: skip


if __name__ == "__main__":
    typer.run(main)

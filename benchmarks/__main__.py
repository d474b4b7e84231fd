"""`python -m benchmarks NAME|all`: times beside a peer's, with the machine's peak in the same run.

Two have no peer and freeze what they find under their own names (in book/results/gpu where there is a GPU):
`growth` times work as it grows, `variants` other ways of doing it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer

from afd_study.errors import SpecError, unknown_name
from afd_study.study.frozen import freeze
from benchmarks import evaluation, growth, records, sampling, scoring, shapes, study, timing, variants


def _trainer(name: str, model: str, device: torch.device) -> timing.Pair:
    """Return a benchmark of `trainers`, which needs TRL."""
    try:
        from benchmarks import trainers
    except ModuleNotFoundError as fault:
        raise SpecError(f"{fault.name} is missing: pip install -e '.[bench]'") from fault
    make = {"sft": trainers.sft, "reward_model": trainers.reward_model}[name]
    return make(model, device)


SMALL, MORE, ON_GPU = ("1M", "10M"), ("1M", "10M", "124M"), ("124M", "gemma-2b")
BENCHMARKS: dict[str, tuple[Callable[[str, torch.device], timing.Pair], tuple[str, ...]]] = {
    "sft": (partial(_trainer, "sft"), SMALL),
    "reward_model": (partial(_trainer, "reward_model"), SMALL),
    "sampling": (sampling.sampling, MORE),
    "one_prompt": (partial(sampling.sampling, prompts=1), SMALL),
    "equal_batch": (partial(sampling.sampling, prompts=50, draws=1), SMALL),
    "scoring": (scoring.scoring, SMALL),
    "scoring_to_maximum": (partial(scoring.scoring, to_maximum=True), SMALL),
    "logprobs": (scoring.logprobs, SMALL),
    "logprobs_to_maximum": (partial(scoring.logprobs, to_maximum=True), SMALL),
    "divergences": (evaluation.divergences, SMALL),
    "best_of_n": (evaluation.best_of_n, tuple(evaluation.POOLS)),
    "study": (study.study, ("cpu",)),
}


def main(
    name: Annotated[str, typer.Argument(help="a benchmark, `all` of them, `growth` or `variants`")],
    json: Annotated[Path | None, typer.Option(help="write the records here")] = None,
    frozen: Annotated[str | None, typer.Option(help="freeze them so in book/results: benchmarks")] = None,
    model: Annotated[str | None, typer.Option(help="one model's shape instead of all")] = None,
    pairs: Annotated[int, typer.Option(help="interleaved repeats")] = 5,
    threads: Annotated[int, typer.Option(help="of the CPU; 0: as torch has it")] = 0,
) -> None:
    """Check that both sides do the same, time them in turns, print a table and write records."""
    if name not in ("all", *WITHOUT_PEER, *BENCHMARKS):
        raise unknown_name("benchmark", name, [*BENCHMARKS, *WITHOUT_PEER, "all"])
    if threads:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name in WITHOUT_PEER:
        return WITHOUT_PEER[name](device, pairs, [model] if model else _models("sft", device))
    found, peaks = [], []
    for each in BENCHMARKS if name == "all" else [name]:
        for shape in [model] if model else _models(each, device):
            record, peak = _compare(each, shape, device, pairs)
            print(records.table([record]), flush=True)
            found.append(record)
            peaks.append(peak)
    print(records.table(found))
    if json is not None:
        records.write(found, json, peak=max(peaks), threads=torch.get_num_threads())
    if frozen is not None:
        table = pd.DataFrame([each.model_dump() for each in found])
        about = {"threads": torch.get_num_threads(), "peak_gflops": round(max(peaks) / 1e9, 1)}
        freeze(frozen, {"records": table}, **about)


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


def _grow(device: torch.device, repeats: int, models: Sequence[str]) -> None:
    """Time work along axes; its models are its own."""
    measured = growth.measure(device, repeats)
    found = growth.exponents(measured)
    print(found.round(2).to_string(index=False))
    _freeze("growth", device, repeats, {"growth": measured, "exponents": found}, base=growth.BASE._asdict())


def _vary(device: torch.device, repeats: int, models: Sequence[str]) -> None:
    found = variants.measure(models, device, repeats)
    print(found.round(4).to_string(index=False))
    _freeze("variants", device, repeats, {"variants": found})


def _freeze(
    name: str, device: torch.device, repeats: int, tables: Mapping[str, pd.DataFrame], **about: Any
) -> None:
    where = f"gpu/{name}" if device.type == "cuda" else name
    freeze(where, tables, repeats=repeats, threads=torch.get_num_threads(), **about)


WITHOUT_PEER = {"growth": _grow, "variants": _vary}


if __name__ == "__main__":
    typer.run(main)

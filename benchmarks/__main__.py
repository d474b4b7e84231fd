"""`python -m benchmarks NAME|all`: times beside a peer's, with the machine's peak in the same run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from afd_study.errors import SpecError, unknown_name
from benchmarks import evaluation, records, sampling, scoring, study, timing


def _trainer(name: str, model: str, device: torch.device) -> timing.Pair:
    """Return a benchmark of `trainers`, which needs TRL."""
    try:
        from benchmarks import trainers
    except ModuleNotFoundError as fault:
        raise SpecError(f"{fault.name} is missing: pip install -e '.[bench]'") from fault
    make = {"sft": trainers.sft, "reward_model": trainers.reward_model}[name]
    return make(model, device)


SMALL, MORE = ("1M", "10M"), ("1M", "10M", "124M")
BENCHMARKS: dict[str, tuple[Callable[[str, torch.device], timing.Pair], tuple[str, ...]]] = {
    "sft": (partial(_trainer, "sft"), SMALL),
    "reward_model": (partial(_trainer, "reward_model"), SMALL),
    "sampling": (sampling.sampling, MORE),
    "scoring": (scoring.scoring, SMALL),
    "scoring_to_maximum": (partial(scoring.scoring, to_maximum=True), SMALL),
    "logprobs": (scoring.logprobs, SMALL),
    "logprobs_to_maximum": (partial(scoring.logprobs, to_maximum=True), SMALL),
    "divergences": (evaluation.divergences, SMALL),
    "best_of_n": (evaluation.best_of_n, tuple(evaluation.POOLS)),
    "study": (study.study, ("cpu",)),
}


def main(
    name: Annotated[str, typer.Argument(help="a benchmark, or `all`")],
    json: Annotated[Path | None, typer.Option(help="write the records here")] = None,
    model: Annotated[str | None, typer.Option(help="one model's shape instead of all")] = None,
    pairs: Annotated[int, typer.Option(help="interleaved repeats")] = 5,
    threads: Annotated[int, typer.Option(help="of the CPU; 0: as torch has it")] = 0,
) -> None:
    """Check that both sides do the same, time them in turns, print a table and write records."""
    if name != "all" and name not in BENCHMARKS:
        raise unknown_name("benchmark", name, BENCHMARKS)
    if threads:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found, peaks = [], []
    for each in BENCHMARKS if name == "all" else [name]:
        make, models = BENCHMARKS[each]
        for shape in [model] if model else models:
            pair = make(shape, device)
            pair.check()
            peaks.append(timing.matmul_peak(device, torch.float32))
            ours, peer = timing.interleave(pair.ours, pair.peer, pairs=pairs, device=device)
            peaks.append(timing.matmul_peak(device, torch.float32))
            found.append(records.record(
                name=each, model=shape, peer_name=pair.peer_name, ours=ours, peer=peer, flops=pair.flops,
                tokens=pair.tokens, peak=max(peaks[-2:]),
            ))  # fmt: skip
            print(records.table(found[-1:]), flush=True)
    print(records.table(found))
    if json is not None:
        records.write(found, json, peak=max(peaks), threads=torch.get_num_threads())


if __name__ == "__main__":
    typer.run(main)

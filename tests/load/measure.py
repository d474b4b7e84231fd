"""Load: data larger than a laptop's memory should be, many draws, a full store. What does each take?"""

import json
import multiprocessing
import os
import resource
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

WORDS_A_ROW = 135  # with a vocabulary of 2,000 pieces about 200 tokens, prompt included
SETTINGS = {
    "vocabulary": 2000,
    "policy.config": {"n_layer": 1, "n_head": 2, "n_embd": 32, "n_positions": 512},
    "sampling.max_prompt_tokens": 128,
    "sampling.max_new_tokens": 384,
    "world.max_dropped": 0.01,
    "world.validation": 0.001,
}


def write_demonstrations(path: Path, rows: int, seed: int = 0) -> None:
    """Write a JSONL file of prompts and responses: words by Zipf's law, 25 in a prompt, the rest answers."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("aaabcdeeeefghiiklmnnoooprrssttuuvwy"))
    lengths = rng.integers(2, 9, size=20_000)
    words = np.array(["".join(rng.choice(letters, size)) for size in lengths])
    chance = 1 / np.arange(10, 20_010)
    edges = np.cumsum(chance / chance.sum())
    with open(path, "w") as file:
        for number in range(rows):
            size = int(rng.integers(WORDS_A_ROW // 2, WORDS_A_ROW * 3 // 2))
            text = words[np.searchsorted(edges, rng.random(25 + size))]
            row = {"prompt": f"{' '.join(text[:25])} {number}?", "response": " ".join(text[25:])}
            file.write(json.dumps(row) + "\n")


class Watch:
    """The memory (bytes) of this process and all below it, sampled while a part runs; and its CPU seconds."""

    def __enter__(self):
        self.peak, self.private, self._ended = 0, 0, threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        self._cpu, self._clock = cpu_seconds(), time.monotonic()
        return self

    def __exit__(self, *fault):
        self._ended.set()
        self._thread.join()
        self.cpu, self.seconds = cpu_seconds() - self._cpu, time.monotonic() - self._clock

    def line(self, **what) -> dict[str, float]:
        """Return a line of the table."""
        return {**what, "cpu": self.cpu, "seconds": self.seconds, "peak": self.peak, "private": self.private}

    def _sample(self):
        ended = False
        while not ended:
            ended = self._ended.wait(0.2)  # and once more when it has ended
            sizes = [memory(process) for process in family(os.getpid())]
            self.peak = max(self.peak, sum(shared for shared, _ in sizes))
            self.private = max(self.private, sum(own for _, own in sizes))


def cpu_seconds() -> float:
    """Return user and system seconds of this process and of those below it that have ended."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def family(root: int) -> list[int]:
    """Return a process and all below it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found, last = {root}, 0
    while len(found) > last:
        last = len(found)
        found |= {process for process, parent in parents.items() if parent in found}
    return sorted(found)


def memory(process: int) -> tuple[int, int]:
    """Return a process's bytes: its share of all pages (PSS), and those that are in no file."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes["Pss"], sizes["Pss"] - sizes.get("Pss_File", 0)


def apart(work, *arguments):
    """Run `work` in a fresh process, so that no part's memory counts for another; return what it returns."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def demonstrations(folder: Path, rows: int) -> dict[str, float]:
    """Read, split and tokenise `rows` demonstrations and train on some batches of them, as `afd run` does."""
    from afd_study.study.study import open_study
    from afd_study.study.workflow.store import Store

    path, store = folder / f"{rows}.jsonl", Store(folder / f"store-{rows}")
    if not path.exists():
        write_demonstrations(path, rows)
    with Watch() as watch:
        settings = SETTINGS | {"world.demonstrations": path}
        study = open_study("own_data", "smoke", overrides=settings, store=store, jobs=1, quiet=True)
        study.folder("pi_sft")
    return watch.line(what="demonstrations", size=rows)


def draws(folder: Path, n: int) -> dict[str, float]:
    """Judge Best-of-N up to `n` by five scorers, on 1.2 n draws to each of 144 prompts, and win rates."""
    from afd_study.evaluation.best_of_n import best_of_n_curve, win_rates

    rng = np.random.default_rng(0)
    each = range(n * 6 // 5)
    ids = pd.MultiIndex.from_product([range(144), each, [*"abcd", "judge"]]).to_frame(index=False)
    ids.columns = ["prompt_id", "draw", "scorer"]
    scores = ids.assign(source="pi_sft", reward=rng.normal(size=len(ids)))
    scores["prompt_id"] = scores["prompt_id"].map("p{:03}".format)
    name = {"task": "load", "seed": 0, "judge": "judge"}
    with Watch() as watch:
        best_of_n_curve(scores, n_max=n, **name)
        win_rates(scores, opponent="pi_sft", n=(1, 16, n), **name)
    return watch.line(what="draws a prompt", size=n)


def artefacts(folder: Path, count: int) -> dict[str, float]:
    """Look a store of `count` artefacts through: what has to be run, what lies there, is each of it whole."""
    from afd_study.study.steps import STEPS, step
    from afd_study.study.workflow.executor import steps_to_run
    from afd_study.study.workflow.inspection import survey
    from afd_study.study.workflow.store import Store

    store = Store(folder / "store")
    steps = [
        step("prompts", {"world": {"name": "harmless", "variant": None}, "seed": seed})
        for seed in range(count)
    ]
    for each in steps:
        out = folder / "out"
        out.mkdir()
        (out / "prompts.parquet").write_bytes(bytes(10_000))
        store.keep(each, out, seconds=1.0, cost={})
        shutil.rmtree(out, ignore_errors=True)
    functions = {name: f"afd_study.study.steps.{kind.function}" for name, kind in STEPS.items()}
    with Watch() as watch:
        assert not steps_to_run(steps, store)
        entries = survey(store, functions, thorough=True)
    assert [entry.state for entry in entries] == ["whole"] * count
    return watch.line(what="artefacts", size=count)


def one_row(folder: Path, characters: int) -> dict[str, float]:
    """Read a file that holds one row of so many characters, beside 60 others; say whether it was refused."""
    from afd_study.errors import DataError
    from afd_study.worlds.own_data import OwnDataSpec, load

    path = folder / "row.jsonl"
    write_demonstrations(path, 60)
    with open(path, "a") as file:
        file.write(json.dumps({"prompt": "long?", "response": "word " * (characters // 5)}) + "\n")
    with Watch() as watch:
        try:
            kept = len(load(OwnDataSpec(demonstrations=path), folder).demonstrations)
        except DataError as fault:
            kept, said = 0, str(fault)
            assert f"{characters:,}" in said or "bytes" in said, said
    return watch.line(what="characters in one row" + ("" if kept else " (refused)"), size=characters)

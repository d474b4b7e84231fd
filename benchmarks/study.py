"""All steps of the `cpu` study in an empty store, as `make book` runs them; no peer makes the same."""

import os
import tempfile
from pathlib import Path

import torch

from afd_study.study.study import open_study
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.step import closure
from afd_study.study.workflow.store import Store
from afd_study.worlds.tasks import CONTROLLED
from benchmarks.timing import Pair


def study(model: str, device: torch.device) -> Pair:
    """Return the study of every controlled world in the profile `model`, at its number of seeds."""

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store, jobs = Store(Path(folder)), os.cpu_count() or 1
            studies = [open_study(task, model, store=store, jobs=jobs) for task in CONTROLLED]
            steps = [step for each in studies for step in each.steps()]
            count = execute(steps, store, jobs=jobs, threads=studies[0].spec.threads)
            assert count == len(closure(steps))

    return Pair("", ours, None, lambda: None, flops=0, tokens=0)

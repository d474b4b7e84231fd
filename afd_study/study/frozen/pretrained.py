"""Frozen results of a pretrained model on real texts: which steps they rest on, by what the texts hold."""

from collections.abc import Mapping
from pathlib import Path

from afd_study.study.frozen.files import is_frozen, read_manifest
from afd_study.study.pipeline.plan import plan
from afd_study.study.pipeline.texts import corpus_texts
from afd_study.study.spec import StudySpec, load_spec
from afd_study.study.workflow.step import Step

NAME = PROFILE = "pretrained"
DIGEST = "digest"  # in the manifest: of the files that were read
FOLDERS: Mapping[str, str] = {"harmless": "hh_rlhf", "helpful": "alpaca_eval"}
"""A task -> the data set that it reads."""


def spec_of(task: str, folder: Path) -> StudySpec:
    """Return the settings of a task on a copy of its data set."""
    return load_spec(task, PROFILE, {"world.folder": str(folder)})


def frozen_steps(task: str) -> list[Step]:
    """Return the steps that a task's frozen tables rest on, by the digest of the files that were read."""
    name = f"{NAME}/{task}"
    manifest = read_manifest(name) if is_frozen(name) else {}
    spec = spec_of(task, Path(FOLDERS[task]))
    start = corpus_texts(spec, content=str(manifest.get(DIGEST, "")))
    seeds = range(spec.n_seeds)
    return [each for seed in seeds for each in plan(spec, task=task, seed=seed, start=start).steps.values()]

"""Frozen results of a pretrained model on real texts: which steps they rest on, by what the texts hold."""

from collections.abc import Mapping

from afd_study.study.frozen.files import is_frozen, read_manifest
from afd_study.study.pipeline.plan import plan
from afd_study.study.pipeline.texts import corpus_texts
from afd_study.study.spec import load_spec
from afd_study.study.workflow.step import Step

NAME = PROFILE = "pretrained"
DIGEST, SYSTEMS = "digest", "systems"  # in the manifest: of the files that were read, and whose answers
FOLDERS: Mapping[str, str] = {"harmless": "hh_rlhf", "helpful": "alpaca_eval"}
"""A task -> the data set that it reads."""


def frozen_steps(task: str) -> list[Step]:
    """Return the steps that a task's frozen tables rest on, by the digest of the files that were read."""
    name = f"{NAME}/{task}"
    manifest = read_manifest(name) if is_frozen(name) else {}
    systems = {"world.systems": manifest.get(SYSTEMS) or [""]} if task == "helpful" else {}
    spec = load_spec(task, PROFILE, {"world.folder": FOLDERS[task], **systems})
    start = corpus_texts(spec, content=str(manifest.get(DIGEST, "")))
    seeds = range(spec.n_seeds)
    return [each for seed in seeds for each in plan(spec, task=task, seed=seed, start=start).steps.values()]

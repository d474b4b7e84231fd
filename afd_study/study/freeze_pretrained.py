"""Computing what a pretrained model does on real texts, and freezing the aggregates: no text is kept."""

import time
from collections.abc import Mapping
from pathlib import Path

from afd_study.errors import SpecError
from afd_study.models.distributed import on_gpu
from afd_study.study.chapters.pretrained import page_of
from afd_study.study.frozen.basis import basis_of
from afd_study.study.frozen.files import freeze
from afd_study.study.frozen.pretrained import DIGEST, NAME, PROFILE, SYSTEMS
from afd_study.study.study import Study, open_study


def freeze_pretrained(*, jobs: int, folders: Mapping[str, Path] | None = None) -> None:
    """Compute the tables of each task whose data set has a folder, and freeze them as soon as they are there.

    `folders` are by task (frozen.pretrained.FOLDERS). Raises SpecError without any, HubError without the
    model, DataError for a folder that is no copy of its data set.
    """
    if not folders:
        raise SpecError(
            "a pretrained model needs real texts: --hh-rlhf FOLDER, a copy of HH-RLHF (task harmless), or "
            "--alpaca-eval FOLDER, a copy of AlpacaEval (task helpful)"
        )
    for task, place in folders.items():
        study = open_study(task, PROFILE, overrides={"world.folder": str(place)}, jobs=jobs)
        _freeze_task(task, study, jobs)


def _freeze_task(task: str, study: Study, jobs: int) -> None:
    started = time.perf_counter()
    study.run()
    page = page_of(study)
    tables = {name: page.table(name) for name in page.makers}
    corpus = next(iter(study.plans().values())).step("corpus")
    about = {
        **{"profile": PROFILE, "seeds": list(study.seeds), "threads": study.spec.threads, "jobs": jobs},
        **{"wall_seconds": round(time.perf_counter() - started, 1), "on_gpu": on_gpu()},
        DIGEST: corpus.settings["digest"],
        SYSTEMS: corpus.settings["world"].get("systems"),
    }
    freeze(f"{NAME}/{task}", tables, basis=basis_of(study.steps()).model_dump(), **about)
    print(f"{NAME}/{task}: frozen")

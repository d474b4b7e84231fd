"""What a notebook or the command line holds: a study of some seeds, its tables computed when asked for."""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from afd_study.errors import SpecError, unknown_name
from afd_study.methods.arms import ARMS
from afd_study.methods.ensembles import replicate_name
from afd_study.models import distributed
from afd_study.study import data_lines
from afd_study.study.pipeline.plan import TABLES, Plan, plan
from afd_study.study.pipeline.texts import CORPORA
from afd_study.study.published_models import refuse_models
from afd_study.study.spec import StudySpec, load_spec
from afd_study.study.steps import STEPS
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.faults import requested_jobs
from afd_study.study.workflow.step import Step, closure
from afd_study.study.workflow.store import Store, default_store
from afd_study.study.workflow.tables import read_table

MOST_SEED = 2**63


@dataclass(frozen=True)
class Study:
    """One task in one setting at one or more seeds."""

    task: str
    spec: StudySpec
    seeds: tuple[int, ...]
    store: Store
    jobs: int = 1
    quiet: bool = False

    def plans(self) -> dict[int, Plan]:
        """Return the steps of each seed."""
        return {seed: plan(self.spec, task=self.task, seed=seed) for seed in self.seeds}

    def steps(self) -> list[Step]:
        """Return the steps of all seeds; each has those that it needs as its inputs."""
        return [step for each in self.plans().values() for step in each.steps.values()]

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of all seeds (column `seed`), computing what the store does not hold.

        Raises SpecError for a table that there is none of, or that this study cannot have.
        """
        step_name, stored = self._where(name)
        frames = []
        for seed, folder in self._folders(step_name).items():
            frame = read_table(folder, stored)
            frames.append(frame if "seed" in frame.columns else frame.assign(seed=seed))
        return pd.concat(frames, ignore_index=True)

    def has(self, name: str) -> bool:
        """Tell whether this study has a table: without a judge there are no outcomes."""
        return name in TABLES and TABLES[name][0] in self._first()

    def evaluations(self) -> pd.DataFrame:
        """Return how training went: model, seed, step, training_loss, validation_loss (nats)."""
        trained = [
            name
            for name in self._first()
            if name in ("pi_init", "pi_sft", "demonstrator", "judge") or name.startswith("reward_")
        ]
        frames = [
            read_table(folder, "evaluations").assign(model=name.removeprefix("reward_"), seed=seed)
            for name in trained
            for seed, folder in self._folders(name).items()
        ]
        return pd.concat(frames, ignore_index=True)

    def histories(self, name: str) -> pd.DataFrame:
        """Return how arms' training went: method, seed, step, and what is noted of it.

        `name` is history (direct methods) or trajectory (policy gradient, adversarial imitation).
        """
        trained = [
            role for role, step in self._first().items() if role in ARMS and name in STEPS[step.name].tables
        ]
        frames = [
            read_table(folder, name).assign(method=arm, seed=seed)
            for arm in trained
            for seed, folder in self._folders(arm).items()
        ]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def reward_models(self) -> pd.DataFrame:
        """Return what each reward model was trained on and how well it tells validation responses apart."""
        reward = self.spec.reward
        names = [
            f"reward_{replicate_name(kind, r)}"
            for kind in reward.kinds
            for r in range(reward.replicates_of(kind))
        ]
        frames = [
            read_table(folder, "reward_model").assign(seed=seed)
            for name in names
            for seed, folder in self._folders(name).items()
        ]
        return pd.concat(frames, ignore_index=True)

    def cost(self) -> pd.DataFrame:
        """Return what each step cost when it was computed: seconds, tokens, flops, labels (0 where none)."""
        self.run()
        rows = []
        for seed, steps in self.plans().items():
            for name, step in steps.steps.items():
                manifest = self.store.manifest(step)
                if manifest is not None:
                    rows.append(
                        {"step": name, "seed": seed, "seconds": manifest["seconds"], **manifest["cost"]}
                    )
        return pd.DataFrame(rows).fillna(0.0)

    def run(self, *, lines: bool = False) -> int:
        """Compute every step that is missing; return how many there were. `lines`: see `execute`.

        What is read of a data set, what was dropped and what was cut of it is a line each on stderr, unless
        `quiet`.
        """
        self._say(data_lines.reading(self.spec.world))
        n_run = self._execute(self.steps(), lines=lines)
        pi_sft = self._first()["pi_sft"]
        if self.spec.world.name in CORPORA and self.store.manifest(pi_sft):
            table = read_table(self.store.folder(pi_sft), "cut")
            self._say(data_lines.cut(self.spec.world, table))
        return n_run

    def folder(self, name: str) -> Path:
        """Return where the artefact of a table's or step's first seed lies, computing it if need be."""
        step_name = TABLES[name][0] if name in TABLES else name
        if step_name not in self._first():
            raise unknown_name("table or step", name, {*TABLES, *self._first()})
        return next(iter(self._folders(step_name).values()))

    def _first(self) -> Mapping[str, Step]:
        return plan(self.spec, task=self.task, seed=self.seeds[0]).steps

    def _where(self, name: str) -> tuple[str, str]:
        if name not in TABLES:
            raise unknown_name("table", name, TABLES)
        step_name, stored = TABLES[name]
        if step_name not in self._first():
            raise SpecError(
                f"this study has no table '{name}': its world '{self.spec.world.name}' or its settings lack "
                f"the step '{step_name}' (a judge needs preferences and the setting `judge`; covering needs "
                "the demonstrators' law and sampling.temperature=1; a data set has no such law without the "
                "setting `demonstrator`)"
            )
        return step_name, stored

    def _folders(self, step_name: str) -> dict[int, Path]:
        steps = {seed: each.step(step_name) for seed, each in self.plans().items()}
        self._execute(steps.values())
        return {seed: self.store.folder(step) for seed, step in steps.items()}

    def _execute(self, wanted: Collection[Step], *, lines: bool = False) -> int:
        def check(todo: Mapping[str, Step]) -> None:
            refuse_models(todo.values())
            every = closure(wanted).values()
            corpus = next((step for step in every if "report" in STEPS[step.name].tables), None)
            if lines and corpus is not None and corpus.key not in todo and self.store.manifest(corpus):
                report = read_table(self.store.folder(corpus), "report")
                self._say(data_lines.dropped(self.spec.world, report))  # else the step itself says so

        settings = {"jobs": self.jobs, "threads": self.spec.threads}
        return execute(wanted, self.store, **settings, quiet=self.quiet, lines=lines, check=check)

    def _say(self, line: str) -> None:
        if line and not self.quiet and distributed.is_main():
            print(line, file=sys.stderr, flush=True)


def open_study(
    task: str,
    profile: str = "cpu",
    seed: int = 0,
    n_seeds: int | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    store: Store | None = None,
    jobs: int | None = None,
    quiet: bool = False,
) -> Study:
    """Open a study; nothing is computed until a table is asked for.

    Args:
        task: a task of the profile.
        profile: smoke, cpu, ... (study/profiles).
        seed: the first seed.
        n_seeds: how many seeds, from `seed` on; None takes the profile's number.
        overrides: dotted settings and their values, {"world.heterogeneity": 0.5}.
        store: where artefacts lie; None takes the default (AFD_STORE).
        jobs: steps at once; None takes AFD_JOBS or one.
        quiet: show no progress.

    Raises:
        SpecError: an unknown task, profile or setting, or a value out of range.
    """
    spec = load_spec(task, profile, overrides)
    count = spec.n_seeds if n_seeds is None else n_seeds
    if seed < 0 or count < 1:
        raise SpecError(f"seed={seed} must be 0 or more, and n_seeds={count} at least 1")
    if seed + count > MOST_SEED:
        raise SpecError(f"seed={seed} is too large for a table: the last seed is {MOST_SEED - 1}")
    jobs = requested_jobs() if jobs is None else jobs
    own = None if spec.demonstrator is None else spec.demonstrator.converted()
    spec = spec.model_copy(update={"policy": spec.policy.converted(), "demonstrator": own})
    return Study(task, spec, tuple(range(seed, seed + count)), store or default_store(), jobs, quiet)


def open_settings(
    task: str, profile: str = "cpu", seed: int = 0, n_seeds: int | None = None, **options: Any
) -> dict[str, Study]:
    """Open a study for each named setting of the task's profile; one named "as given" where there is none."""
    overrides = dict(options.pop("overrides", None) or {})
    settings = load_spec(task, profile, overrides).settings or {"as given": {}}
    return {
        name: open_study(task, profile, seed, n_seeds, overrides={**values, **overrides}, **options)
        for name, values in settings.items()
    }


def compare(studies: Mapping[str, Study], name: str) -> pd.DataFrame:
    """Return a table of several studies, with the study's name in the column `setting`."""
    return pd.concat(
        [study.table(name).assign(setting=label) for label, study in studies.items()], ignore_index=True
    )

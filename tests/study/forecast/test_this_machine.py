"""What a dry run says of the machine at hand: by given rates, cores, memory and units."""

import pytest
import standins

from afd_study.study.forecast import dry_run
from afd_study.study.forecast.calibration import Rates
from afd_study.study.forecast.dry_run import report
from afd_study.study.forecast.sizes import study_sizes
from afd_study.study.forecast.step_work import work_of
from afd_study.study.forecast.this_machine import Machine, Timed, machine_here
from afd_study.study.forecast.words import duration, size
from afd_study.study.steps import STEPS
from afd_study.study.study import open_study
from afd_study.study.workflow.step import closure
from afd_study.study.workflow.store import Store

RATES = Rates(drawing=1e7, scoring=2e7, logprobs=3e7, training=4e7)
MACHINE = Machine(cores=4, memory=10**12, bfloat16=True)


def said(study, machine=MACHINE, timed=None):
    lines = report(study, device="H100", price=None, machine=machine, timing=lambda _: timed or Timed(RATES))
    return "\n".join(lines)


@pytest.fixture
def study(tmp_path):
    return open_study("harmless", "smoke", 0, 1, store=Store(tmp_path), jobs=1, quiet=True)


def test_time_is_that_of_each_kind_of_work_and_of_the_other_steps(study):
    sizes, steps = study_sizes(study.spec), closure(study.steps()).values()
    seconds = 0.0
    for step in steps:
        work, kind = work_of(step, sizes), STEPS[step.name]
        seconds += kind.seconds if work is None else work.flops / RATES.of(kind.work)
    assert f"if nothing else runs: about {duration(seconds)} for seed 0 (4 cores, 1 threads" in said(study)
    assert "others keep it busy" not in said(study)
    busy = said(study, timed=Timed(RATES, share=0.25))
    assert f"a process gets 25% of a core, so about {duration(4 * seconds)} as it is" in busy


def test_steps_side_by_side_share_the_cores(study, tmp_path):
    both = open_study("harmless", "smoke", 0, 1, store=Store(tmp_path), jobs=8, quiet=True)
    assert "4 steps at once" in said(both)
    threads = {"threads": 2}
    wide = open_study("harmless", "smoke", 0, 1, store=Store(tmp_path), jobs=8, quiet=True, overrides=threads)
    assert "2 threads a step, 2 steps at once" in said(wide)


def test_too_little_memory_is_said_and_nothing_is_timed(study):
    def fail(_):
        raise AssertionError("was timed")

    little = Machine(4, 1000, True)
    lines = "\n".join(report(study, device="H100", price=None, machine=little, timing=fail))
    assert "TOO LITTLE" in lines and "time on this machine" not in lines
    assert "it fits" in said(study)
    unknown = said(study, Machine(4, None, None))
    assert "memory on this machine" in unknown and "are free" not in unknown


@pytest.mark.parametrize(
    ("dtype", "units", "advice"),
    [
        ("bfloat16", False, "--set policy.dtype=float32"),
        ("bfloat16", True, None),
        ("bfloat16", None, None),
        ("float32", True, "--set policy.dtype=bfloat16"),
        ("float32", False, None),
    ],
)
def test_the_faster_type_is_named_and_none_is_chosen(dtype, units, advice, dialogues, tmp_path):
    policy = standins.policy(tmp_path / "policy", gemma=False)
    changes = {
        "world.folder": str(dialogues),
        "policy.name_or_path": str(policy),
        "policy.config": {},
        "policy.dtype": dtype,
        "pretraining": None,
    }
    study = open_study("hh_rlhf", "smoke", store=Store(tmp_path), overrides=changes, quiet=True)
    keys = [step.key for step in study.steps()]
    lines = said(study, Machine(2, None, units))
    assert ("--set policy.dtype" in lines) == (advice is not None) and (advice or "") in lines
    assert f"by passes in {dtype} that were just timed" in lines
    assert [step.key for step in study.steps()] == keys


def test_nothing_is_said_of_this_machine_where_a_gpu_computes(study, monkeypatch):
    monkeypatch.setattr(dry_run.distributed, "on_gpu", lambda: True)
    assert "this machine" not in said(study)


def test_this_machine_has_cores():
    assert machine_here().cores >= 1


def test_durations_and_sizes_have_their_units():
    assert [duration(n) for n in (12, 120, 7200)] == ["12 s", "2 min", "2.0 h"]
    assert [size(n) for n in (2e6, 2e9)] == ["2 MB", "2.00 GB"]

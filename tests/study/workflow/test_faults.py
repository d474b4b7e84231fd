"""Faults of the machine and of the shell are one line and exit status 1; those of the user have 2."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from afd_study.errors import SpecError
from afd_study.study import open_study
from afd_study.study.workflow.faults import killed_worker, memory_fault, requested_jobs


def shell(words, **environment):
    command = f"{sys.executable} -m afd_study.study {words}"
    return subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize(
    ("where", "message"),
    [
        (">/dev/full", "cannot write to standard output: No space left"),
        (">&-", "standard output is closed, and nothing was run"),
        ("| true; exit ${PIPESTATUS[0]}", "cannot write to standard output: Broken pipe"),
    ],
)
@pytest.mark.parametrize("words", ["claims --json"])
def test_standard_output_that_takes_nothing_is_one_line(words, where, message):
    done = shell(f"{words} {where}")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"afd: {message}")


def test_an_unknown_user_in_the_stores_path_is_one_line():
    done = shell("run --profile smoke", AFD_STORE="~nosuchuser/store")
    assert done.returncode == 2 and done.stderr.startswith("afd: AFD_STORE=~nosuchuser/store is no usable")


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 80 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("std::bad_alloc"),
        ImportError("libtorch.so: failed to map segment from shared object"),
        Exception("Unknown error: Failed to launch worker thread: Resource temporarily unavailable"),
    ],
)
def test_faults_of_memory_are_known(fault):
    assert "--jobs 1" in memory_fault(fault)
    wrapped = RuntimeError("in a worker")
    wrapped.__cause__ = fault
    assert memory_fault(wrapped) and not memory_fault(RuntimeError("another"))


def test_a_fault_of_the_user_that_speaks_of_memory_is_none_of_memory():
    assert not memory_fault(SpecError("unknown arm 'out of memory'"))


def test_nothing_is_said_after_memory_ran_out():
    code = (
        "import atexit, sys; from afd_study.study import __main__, commands\n"
        "def fail(): raise MemoryError\n"
        "atexit.register(fail); commands.run_command_line = fail; __main__.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("afd: memory ran out") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("codes", "how"),
    [
        ([-15, None, -11], "was ended by SIGSEGV while it was at a, b, perhaps since memory ran out"),
        ([-15, -9], "was ended by SIGKILL while it was at a, b, most likely since memory ran out"),
        ([-6, -15, 0], "was ended by SIGABRT while it was at a, b, most likely since memory ran out"),
        ([127, -15], "ended with status 127 while it was at a, b, most likely since memory ran out"),
        ([-15, 0], "was ended by SIGTERM while it was at a, b, perhaps"),
        ([1], "ended with status 1 while it was at a, b, perhaps"),
        ([None], "ended without a word while it was at a, b, perhaps"),
    ],
)
def test_whatever_ends_a_worker_is_named(codes, how):
    said = str(killed_worker(["b", "a"], codes))
    assert said.startswith(f"a worker process {how}") and "--jobs 1" in said and "are kept" in said


@pytest.mark.parametrize("text", ["abc", "0", "-1", "1.5", "1e3", "²", "99999"])
def test_a_number_of_jobs_that_is_none_is_refused(text, monkeypatch):
    monkeypatch.setenv("AFD_JOBS", text)
    with pytest.raises(SpecError, match=f"AFD_JOBS={text} is no number"):
        open_study("harmless", "smoke")


@pytest.mark.parametrize(("text", "jobs"), [("", 1), (" 3 ", 3), ("12", 12)])
def test_a_number_of_jobs_is_taken(text, jobs, monkeypatch):
    monkeypatch.setenv("AFD_JOBS", text)
    assert requested_jobs() == jobs

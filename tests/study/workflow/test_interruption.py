"""Ctrl-C and its kin end a run with the shell's exit status and one line, at any moment, with all workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import alive, descendants, wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")

RUN = ["run", "--task", "harmless", "--profile", "smoke", "--set", "pretraining.steps=4000"]


def as_on_a_terminal():
    for name in (signal.SIGINT, signal.SIGHUP):  # a test run in the background may ignore them
        signal.signal(name, signal.SIG_DFL)


def start(store, *words, module=("-m", "afd_study.study")):
    environment = {**os.environ, "AFD_STORE": str(store), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    return subprocess.Popen(
        [sys.executable, *module, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=as_on_a_terminal,
    )


def guarded(process):
    """Whether a process catches SIGTERM, by Linux's own account: true before anything slow is imported."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def check_end(process, number):
    out, said = process.communicate(timeout=20)
    lines = [line for line in said.splitlines() if not line.startswith("  ")]  # progress is indented
    assert process.returncode == 128 + number, said
    assert out == "" and len(lines) == 1, said
    assert lines[0].startswith("afd: interrupted by") and "are kept" in lines[0]
    assert "--set pretraining.steps=4000" in lines[0]  # the command to go on


@pytest.mark.parametrize("seconds", [0, 0.3, 1.5])
def test_ctrl_c_while_libraries_are_imported(seconds, tmp_path):
    process = start(tmp_path / "store", *RUN)
    wait_until(lambda: guarded(process.pid), 20)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    check_end(process, signal.SIGINT)


@pytest.mark.parametrize(
    ("name", "jobs", "group", "times"),
    [
        ("SIGINT", 1, True, 1),
        ("SIGINT", 2, True, 2),
        ("SIGTERM", 1, False, 2),
        ("SIGHUP", 2, True, 1),
    ],
)
def test_a_signal_in_the_middle_ends_the_run_and_its_workers(name, jobs, group, times, tmp_path):
    process = start(tmp_path, *RUN, "--jobs", str(jobs))
    wait_until(lambda: list(tmp_path.glob("unfinished/pi_init-*/checkpoint/state.json")), 120)
    workers, number = descendants(process.pid), getattr(signal, name)
    assert len(workers) >= (2 if jobs == 2 else 0)
    for _ in range(times):
        os.killpg(process.pid, number) if group else process.send_signal(number)
        time.sleep(0.02)
    check_end(process, number)
    wait_until(lambda: not any(map(alive, workers)), 5)
    assert list(tmp_path.glob("unfinished/pi_init-*/checkpoint/state.json"))


def test_a_worker_that_is_killed_is_reported_as_such(tmp_path):
    process = start(tmp_path, *RUN, "--jobs", "2")
    wait_until(lambda: list(tmp_path.glob("unfinished/pi_init-*/checkpoint/state.json")), 120)
    workers = descendants(process.pid)
    spawned = [each for each in workers if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]
    os.kill(spawned[0], signal.SIGKILL)
    out, said = process.communicate(timeout=20)
    lines = [line for line in said.splitlines() if not line.startswith("  ")]
    assert process.returncode == 1 and out == "" and len(lines) == 1, said
    for words in ("afd: a worker process was ended by SIGKILL", "pi_init", "--jobs 1", "are kept"):
        assert words in lines[0]
    wait_until(lambda: not any(map(alive, workers)), 5)


def test_nothing_comes_after_an_interrupted_run(tmp_path):
    words = f"{sys.executable} -m afd_study.study {' '.join(RUN)} && echo done"
    shell = start(tmp_path, "-c", f"import os; os.execlp('bash', 'bash', '-c', {words!r})", module=())
    wait_until(lambda: any(map(guarded, descendants(shell.pid))), 20)
    for command in descendants(shell.pid):
        os.kill(command, signal.SIGINT)
    out, said = shell.communicate(timeout=20)
    assert shell.returncode == 130 and out == "" and "afd: interrupted" in said


def test_a_signal_that_was_ignored_stays_ignored(tmp_path):
    script = (
        "import os, signal; from afd_study.study.workflow.interruption import guarded\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with guarded(): os.kill(os.getpid(), signal.SIGHUP)\n"
        "print('went on')"
    )
    process = start(tmp_path, "-c", script, module=())
    assert process.communicate(timeout=20)[0] == "went on\n" and process.returncode == 0


def test_an_interruption_that_a_library_swallows_still_ends_the_process(tmp_path):
    script = (
        "import os, signal, time; from afd_study.study.workflow import interruption\n"
        "interruption.PATIENCE = 0.5\n"
        "with interruption.guarded():\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM); time.sleep(1)\n"
        "    except BaseException: pass\n"
        "    time.sleep(60)"
    )
    process = start(tmp_path, "-c", script, module=())
    assert "interrupted by a request" in process.communicate(timeout=20)[1] and process.returncode == 143


def test_a_library_that_is_at_it_for_long_does_not_hold_out():
    code = (
        "import hashlib; from afd_study.study.workflow import interruption; interruption.PATIENCE = 0.5\n"
        "with interruption.guarded(): hashlib.pbkdf2_hmac('sha256', b'a', b'b', 2**31 - 1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, preexec_fn=as_on_a_terminal
    )
    wait_until(lambda: guarded(process.pid), 20)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM and said.startswith("afd: interrupted by")

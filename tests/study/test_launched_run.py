"""A study run by two launched processes: one store and one table, as by one, and nothing computed twice."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from safetensors.torch import load_file

from afd_study.study.workflow.store import MANIFEST

SMALL = (
    'reward.kinds=["init_sft"]',
    "world.n_pretraining=200",
    "world.n_demonstrations=120",
    "pretraining.steps=40",
    "sft.steps=10",
    "reward.training.steps=10",
)
RUN = ["run", "--task", "harmless", "--profile", "smoke", "--json"]
RUN += [word for setting in SMALL for word in ("--set", setting)]


def start(store, *, n):
    """Run the command in `n` processes."""
    words = ["-m", "afd_study.study", *RUN]
    if n > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", str(n)]
        words = [
            *launch,
            "--num_machines",
            "1",
            "--main_process_port",
            port,
            "--mixed_precision",
            "no",
            *words,
        ]
    told = {**os.environ, "AFD_STORE": str(store), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    return subprocess.run(
        [sys.executable, *words], env=told, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same study by one process and by two, and what they printed."""
    folder = tmp_path_factory.mktemp("launched")
    done = {n: start(folder / str(n), n=n) for n in (1, 2)}
    for n, each in done.items():
        assert each.returncode == 0, f"{n}: {each.stderr}"
    return folder, done


def test_it_prints_one_table_with_nearly_the_same_numbers(stores):
    one, two = (json.loads(each.stdout) for each in stores[1].values())
    keys = ("method", "n", "judge")
    assert [[row[key] for key in keys] for row in one] == [[row[key] for key in keys] for row in two]
    np.testing.assert_allclose([row["mean"] for row in two], [row["mean"] for row in one], atol=0.05)


def test_the_store_is_the_one_that_one_process_fills(stores):
    found = [
        {
            path.parent.relative_to(folder): json.loads(path.read_text())["files"].keys()
            for path in folder.glob(f"*/*/{MANIFEST}")
        }
        for folder in (stores[0] / "1", stores[0] / "2")
    ]
    assert found[0] == found[1] and len(found[0]) > 10
    assert not any((stores[0] / "2" / "unfinished").iterdir())


def test_trained_weights_agree_to_rounding(stores):
    (one,), (two,) = ((stores[0] / n).glob("pi_init/*/model.safetensors") for n in "12")
    mine, theirs = load_file(one), load_file(two)
    assert mine.keys() == theirs.keys()
    for name, weight in mine.items():
        if not name.endswith("c_attn.bias"):  # the keys' part of it is rounding alone
            assert float((weight - theirs[name]).abs().max()) < 1e-3, name


def test_a_second_run_in_two_processes_computes_nothing(stores):
    again = start(stores[0] / "1", n=2)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == json.loads(stores[1][1].stdout)

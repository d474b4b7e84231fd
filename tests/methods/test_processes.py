"""Two processes do what one does, with the same losses, weights, samples and scores, and fail together."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import launched
import pytest
import torch
from safetensors.torch import load_file

GIVEN = ("gone_on", "gone_on_sharded")  # parts that go on from a checkpoint of one process


def started(folder, n=2):
    """Run the script in `n` processes, as a launcher would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(n),
        "LOCAL_WORLD_SIZE": str(n),
        "MASTER_ADDR": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }
    words = [sys.executable, str(Path(launched.__file__)), str(folder)]
    return [
        subprocess.Popen(
            words,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(n)
    ]


@pytest.fixture(scope="module", autouse=True)
def gentle_optimiser():
    """Train in this process by the optimiser that the launched processes have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", launched.GentleAdamW)
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The checkpoint that a single process left."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.raises(launched.Killed):
        launched.sft(folder, progress=launched.killed)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory, checkpoint):
    """Return a function: what both processes hold after a part, as (numbers, weights) of each."""
    folder = tmp_path_factory.mktemp("two")
    for name in GIVEN:
        shutil.copytree(checkpoint, folder / name)
    processes = started(folder)
    output = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(output)

    def read(name):
        each = [folder / f"{name}-{rank}" for rank in range(2)]
        return [
            (json.loads(Path(f"{path}.json").read_text()), load_file(f"{path}.safetensors")) for path in each
        ]

    return read


@pytest.fixture
def one(tmp_path, checkpoint):
    """Return a function: what a single process has after a part."""

    def run(name):
        if name in GIVEN:
            shutil.copytree(checkpoint, tmp_path / name)
        numbers, weights = (launched.ALIKE | launched.OTHERWISE)[name](tmp_path / name)
        return json.loads(json.dumps(numbers)), weights

    return run


def assert_alike(actual, expected, *, numbers=1e-5, weights=1e-5):
    assert torch.tensor(actual[0]).shape == torch.tensor(expected[0]).shape
    torch.testing.assert_close(torch.tensor(actual[0]), torch.tensor(expected[0]), atol=numbers, rtol=numbers)
    torch.testing.assert_close(actual[1], expected[1], atol=weights, rtol=0)  # names the weight that differs


@pytest.mark.parametrize("name", launched.ALIKE)
def test_two_processes_end_as_one(one, two, name):
    first, second = two(name)
    assert first[0] == second[0]  # what they say, to the last bit
    assert all(torch.equal(weight, second[1][key]) for key, weight in first[1].items())
    expected = one(name)
    if name in ("faulty", "broken", "drawn"):  # messages, kept items, and responses' ids
        assert first[0] == expected[0]
        torch.testing.assert_close(first[1], expected[1], atol=1e-5, rtol=1e-5)
    else:
        assert_alike(first, expected)


def test_they_stop_at_the_same_evaluation(one, two):
    (first, _), (second, _) = two("stopped")
    steps = [row[0] for row in one("stopped")[0]]
    assert [row[0] for row in first] == [row[0] for row in second] == steps
    assert max(steps) < launched.STEPS["steps"]


def test_a_batch_that_they_cannot_share_is_refused(two):
    assert [said for said, _ in two("uneven")] == ["batch_size=7 must be a multiple of 2 processes"] * 2


def test_dropout_differs_between_them_and_a_run_that_was_stopped_draws_it_again(two):
    whole, resumed = two("dropout"), two("dropout_interrupted")
    assert whole[0][0] == whole[1][0] == resumed[0][0] and whole[0][0] != two("sft")[0][0]


@pytest.mark.parametrize("name", launched.SHARDED)
def test_shards_end_as_whole_weights_do(one, two, name):
    first, second = two(name)
    assert first[0] == second[0]
    assert all(torch.equal(weight, second[1][key]) for key, weight in first[1].items())
    assert_alike(first, one(name.removesuffix("_sharded")))

"""The command line end to end: tables, second runs, faults, and a kill -9 that costs no bit.

The whole smoke study is computed once; a smaller one is computed at one go, and killed and resumed.
"""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import alive, descendants, wait_until

from afd_study.records import TABLES, checked
from afd_study.study.__main__ import main
from afd_study.study.spec import load_spec
from afd_study.study.study import Study, open_settings, open_study
from afd_study.study.workflow.store import MANIFEST, Store
from afd_study.study.workflow.tables import read_table
from afd_study.worlds.harmless import HarmlessSpec, HarmlessWorld

RUN = ["run", "--task", "harmless", "--profile", "smoke", "--seed", "0"]
SMALL = {
    "reward.kinds": ["init_sft", "preferences"],
    "world.n_pretraining": 200,
    "world.n_demonstrations": 120,
    "pretraining.steps": 400,
    "sft.steps": 10,
    "reward.training.steps": 10,
}
COLUMNS = ["task", "method", "n", "judge", "mean", "low", "high", "n_prompts", "seed"]
METHODS = {
    "pi_init",
    "pi_sft",
    "demonstrations",
    "random",
    "oracle",
    "longest",
    "shortest",
    "likelihood",
    "likelihood_per_token",
    "closed_form",
    "closed_form_per_token",
    "init_sft",
    "init_demo",
    "sft_demo",
    "preferences",
    "init_sft_x10",
}


def command(*words):
    return [sys.executable, "-m", "afd_study.study", *words]


def environment(store):
    return {**os.environ, "AFD_STORE": str(store), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


def afd(store, *words):
    return subprocess.run(
        command(*words), env=environment(store), capture_output=True, text=True, timeout=300, check=False
    )


def artefacts(store):
    """The checksums of every artefact in a store, by step and key."""
    return {
        str(path.parent.relative_to(store)): json.loads(path.read_text())["files"]
        for path in Path(store).glob(f"*/*/{MANIFEST}")
    }


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The whole smoke study: its store, and what the command printed."""
    store = tmp_path_factory.mktemp("smoke") / "store"
    return store, afd(store, *RUN, "--jobs", "1", "--json")


@pytest.fixture(scope="session")
def study(smoke):
    return open_study("harmless", "smoke", 0, 1, store=Store(smoke[0]), quiet=True)


# what is printed


def test_the_outcome_table_is_printed_as_json_and_nothing_else(smoke):
    done = smoke[1]
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert all(list(record) == COLUMNS for record in records)
    assert {record["method"] for record in records} == METHODS
    assert {(r["task"], r["seed"], r["n_prompts"], r["judge"]) for r in records} == {
        ("harmless", 0, 12, "judge")
    }
    curves = {name: [r["n"] for r in records if r["method"] == name] for name in METHODS}
    assert curves["init_sft"] == list(range(1, 17)) and curves["pi_init"] == [1]
    assert all(record["low"] <= record["mean"] <= record["high"] for record in records)
    assert "the tables lie in" in done.stderr


def test_a_second_run_computes_nothing_and_prints_the_same(smoke):
    store, first = smoke
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    again = afd(store, *RUN, "--json")
    assert again.stdout == first.stdout and "0 steps computed" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()} == before


def test_without_json_a_person_reads_a_table(smoke):
    done = afd(smoke[0], *RUN)
    assert done.returncode == 0
    head, *rows = done.stdout.splitlines()
    assert head.split() == COLUMNS and {row.split()[2] for row in rows} == {"1", "2", "4", "8", "16"}


FAULTS = {
    "option": (["run", "--sed", "1"], "unknown option '--sed': did you mean '--seed'"),
    "command": (["rnu"], "No such command 'rnu'"),
    "task": (["run", "--task", "harmles", "--profile", "smoke"], "'harmles': did you mean 'harmless'"),
    "profile": (["run", "--profile", "smok"], "unknown profile 'smok': did you mean 'smoke'"),
    "setting": ([*RUN, "--set", "world.heterogenity=1"], "did you mean 'world.heterogeneity'"),
    "value": ([*RUN, "--set", "world.heterogeneity=2"], "less than or equal to 1"),
    "no value": ([*RUN, "--set", "world.heterogeneity"], "write it as key=value"),
    "no YAML": ([*RUN, "--set", "sft.steps=[1"], "is neither a number"),
    "seed": (["run", "--seed", "one"], "Invalid value for '--seed'"),
    "negative seed": (["run", "--seed", "-1"], "Invalid value for '--seed'"),
    "huge seed": ([*RUN[:-1], "9" * 23], "is too large for a table: the last seed is"),
    "too many prompts": ([*RUN, "--jobs", "1", "--set", "world.n_test=2000"], "must leave training prompts"),
    "no data": (["run", "--task", "hh_rlhf", "--profile", "smoke"], "give either folder="),
    "no folder": (
        ["run", "--task", "hh_rlhf", "--profile", "smoke", "--set", "world.folder=no-such-folder"],
        "there is no folder no-such-folder",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_message(fault, tmp_path, monkeypatch, capsys):
    words, message = FAULTS[fault]
    monkeypatch.setenv("AFD_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(sys, "argv", ["afd", *words])
    with pytest.raises(SystemExit) as done:
        main()
    printed = capsys.readouterr()
    assert done.value.code == 2 and printed.out == ""
    assert printed.err.startswith("afd: ") and message in printed.err


def test_a_pipe_that_breaks_inside_is_no_silent_end(tmp_path, monkeypatch, capsys):
    """Such as that to Python's keeper of semaphores, where it cannot start: typer leaves without a word."""

    def broken(*_, **__):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setenv("AFD_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(Study, "run", broken)
    monkeypatch.setattr(sys, "argv", ["afd", *RUN])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 1 and "afd: a pipe broke: " in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["option", "task", "setting"])
def test_a_fault_ends_the_process_without_a_traceback(fault, tmp_path):
    words, message = FAULTS[fault]
    done = afd(tmp_path / "store", *words)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("afd: ") and message in done.stderr and "Traceback" not in done.stderr


def test_a_fault_in_a_worker_is_told_and_leaves_no_worker(tmp_path):
    # with a worker left behind that holds its end of the pipe, this would not return
    done = afd(tmp_path / "store", *RUN, "--jobs", "2", "--set", "world.n_test=2000")
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert done.stderr.startswith("afd: n_validation + n_test must leave training prompts")


def test_a_store_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_text("no folder")
    done = afd(tmp_path / "file" / "store", *RUN, "--jobs", "2")
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert "cannot write to the store" in done.stderr and "AFD_STORE" in done.stderr


# tables


@pytest.mark.parametrize(
    "name",
    [
        "prompts",
        "demonstrations",
        "held_out_demonstrations",
        "samples",
        "init_samples",
        "preferences",
        "scores",
        "outcomes",
        "summary",
    ],
)
def test_tables_are_tidy(study, name):
    kind = {"held_out_demonstrations": "demonstrations", "init_samples": "samples"}.get(name, name)
    frame = checked(kind, study.table(name))
    assert set(TABLES[kind].columns) <= set(frame.columns) and len(frame) and (frame["seed"] == 0).all()


def test_tables_join_on_ids(study):
    prompts, samples, scores = (study.table(name) for name in ("prompts", "samples", "scores"))
    tested = set(prompts.query("split == 'test'")["prompt_id"])
    assert set(samples["prompt_id"]) == set(study.table("init_samples")["prompt_id"]) == tested
    assert set(study.table("held_out_demonstrations")["prompt_id"]) == tested
    assert (samples.groupby("prompt_id").size() == 18).all()
    pooled = scores.query("source == 'pi_sft'").pivot(
        index=["prompt_id", "draw"], columns="scorer", values="reward"
    )
    assert len(pooled) == len(samples) and pooled.notna().all(axis=None)
    assert set(pooled.columns) == METHODS - {"pi_init", "pi_sft", "demonstrations", "random", "oracle"} | {
        "judge"
    }
    # scores that can be recomputed from the samples say that nothing was mixed up on the way
    joined = samples.set_index(["prompt_id", "draw"]).join(pooled)
    np.testing.assert_allclose(joined["longest"], joined["token_ids"].map(len))
    np.testing.assert_allclose(joined["likelihood"], joined["logprob"])
    components = study.table("components").query("source == 'pi_sft'").set_index(["prompt_id", "draw"])
    np.testing.assert_allclose(joined["judge"], components["value"].reindex(joined.index))


def test_the_judge_read_the_samples_that_were_drawn(study):
    samples = study.table("samples")
    verdicts = HarmlessWorld(HarmlessSpec()).judge(study.table("prompts"), samples)
    scored = study.table("scores").query("source == 'pi_sft' and scorer == 'judge'")
    joined = samples.assign(value=verdicts["value"]).merge(scored, on=["prompt_id", "draw"])
    assert len(joined) == len(samples)
    np.testing.assert_allclose(joined["value"], joined["reward"])


def test_samples_have_the_log_probability_that_their_policy_gives_them(study):
    from afd_study.models.policy import load_policy
    from afd_study.models.scoring import sequence_logprobs
    from afd_study.models.tokenizers import load_tokenizer
    from afd_study.study.steps.encoding import examples_from

    steps = study.plans()[0].steps
    tokenizer = load_tokenizer(study.store.folder(steps["pi_sft"].inputs["tokenizers"]) / "policy")
    samples, prompts = study.table("samples"), study.table("prompts")
    rows = examples_from(samples, prompts.set_index("prompt_id"), tokenizer, study.spec.sampling, context=192)
    pi_sft, pi_init = (load_policy(study.folder(name)).cpu() for name in ("pi_sft", "pi_init"))
    now = sequence_logprobs(pi_sft, list(rows["example"]))
    np.testing.assert_allclose(samples["logprob"], now, atol=1e-4)
    closed = study.table("scores").query("scorer == 'closed_form'").set_index(["prompt_id", "draw"])["reward"]
    expected = now - sequence_logprobs(pi_init, list(rows["example"]))
    found = closed.reindex(list(zip(samples["prompt_id"], samples["draw"], strict=True)))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_all_reward_models_learn_from_as_many_pairs_of_the_same_prompts(study):
    found = study.reward_models().set_index("scorer")
    demonstrations = study.table("demonstrations").merge(study.table("prompts"), on="prompt_id")
    counts = demonstrations["split"].value_counts()
    for kind in ("init_sft", "init_demo", "sft_demo", "preferences"):
        assert found.loc[kind, "n_pairs"] == counts["train"]
        assert found.loc[kind, "n_validation"] == counts["validation"]
    assert found.loc["init_sft_x10", "n_pairs"] == 10 * counts["train"]
    assert found["accuracy"].between(0, 1).all()
    labelled = study.table("preferences")
    assert len(labelled) == len(demonstrations)
    assert not (labelled["preferred"].map(tuple) == labelled["rejected"].map(tuple)).all()


def test_preferences_are_two_samples_of_the_initial_policy_labelled_by_the_judge(study):
    samples = read_table(study.folder("training_pi_init"), "samples")
    labelled, prompts = study.table("preferences"), study.table("prompts")
    counts = labelled.groupby("prompt_id").size()
    ids = samples.set_index(["prompt_id", "draw"])["token_ids"].map(tuple)
    for row in labelled.itertuples():
        drawn = [ids[row.prompt_id, row.draw + offset] for offset in (0, counts[row.prompt_id])]
        assert sorted(drawn) == sorted([tuple(row.preferred), tuple(row.rejected)])
    world = HarmlessWorld(HarmlessSpec())
    texts = samples.assign(
        token_ids=samples["token_ids"].map(tuple), value=world.judge(prompts, samples)["value"]
    )
    values = texts.drop_duplicates(["prompt_id", "token_ids"]).set_index(["prompt_id", "token_ids"])["value"]
    better = [
        values[row.prompt_id, tuple(row.preferred)] - values[row.prompt_id, tuple(row.rejected)]
        for row in labelled.itertuples()
    ]
    assert np.mean(better) > 2 * np.std(better) / np.sqrt(len(better))


def test_training_and_cost_are_on_record(study):
    trained = study.evaluations()
    assert set(trained["model"]) == {"pi_init", "pi_sft"} | METHODS & set(study.spec.reward.kinds)
    assert np.isfinite(trained[["training_loss", "validation_loss"]]).all(axis=None)
    first = trained.query("model == 'pi_init'").sort_values("step")
    assert first["validation_loss"].iloc[-1] < first["validation_loss"].iloc[0]
    cost = study.cost().set_index("step")
    assert cost.loc["preferences", "labels"] == len(study.table("preferences"))
    assert (cost.loc[["pi_init", "pi_sft", "pool", "reward_init_sft"], "flops"] > 0).all()
    assert cost.loc["pi_init", "tokens"] > cost.loc["pi_sft", "tokens"]


def test_other_settings_reuse_what_does_not_depend_on_them(smoke):
    from afd_study.study.workflow.executor import steps_to_run

    studies = open_settings("harmless", "smoke", 0, 1, store=Store(smoke[0]), quiet=True)
    steps = {
        name: [step for plan in study.plans().values() for step in plan.steps.values()]
        for name, study in studies.items()
    }
    assert not steps_to_run(steps["h = 1"], Store(smoke[0]))  # the profile's own value
    left = {step.name for step in steps_to_run(steps["h = 0"], Store(smoke[0])).values()}
    ends = {"outcomes", "edit_scores", "probes", "when"}
    assert left == {"marked_demonstrations", "reward_model", "scores"} | ends


# interruptions


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """The small study, computed at one go in this process."""
    store = tmp_path_factory.mktemp("uninterrupted") / "store"
    assert open_study("harmless", "smoke", 0, 1, overrides=SMALL, store=Store(store), quiet=True).run() > 10
    return artefacts(store)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc to see orphans")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_run_leaves_no_worker_and_ends_with_the_same_bits(jobs, tmp_path, uninterrupted):
    store = tmp_path / "store"
    words = [word for key, value in SMALL.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    running = subprocess.Popen(
        command(*RUN, "--jobs", str(jobs), *words),
        env=environment(store),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:  # in the middle of pretraining, with a checkpoint written
        wait_until(lambda: list(store.glob("unfinished/pi_init-*/checkpoint/state.json")), 120)
        workers = descendants(running.pid)
        assert len(workers) >= (2 if jobs == 2 else 0)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    wait_until(lambda: not any(map(alive, workers)), 20)
    done = artefacts(store)
    assert done and not any(key.startswith(("pi_init", "outcomes")) for key in done), "it was killed too late"
    study = open_study("harmless", "smoke", 0, 1, overrides=SMALL, store=Store(store), jobs=jobs, quiet=True)
    assert study.run() == len(uninterrupted) - len(done)
    assert artefacts(store) == uninterrupted  # computed by one process at one go
    assert not any((store / "unfinished").iterdir())


# data sets


@pytest.mark.parametrize("task", ["hh_rlhf", "own_data"])
def test_a_study_of_a_data_set_runs_to_its_tables(task, given, tmp_path):
    kinds = {"hh_rlhf": ["init_demo", "preferences"], "own_data": ["init_sft", "init_demo"]}[task]
    overrides = {**given[task], "reward.kinds": kinds, "pretraining.steps": 4, "sft.steps": 4}
    study = open_study(task, "smoke", overrides=overrides, store=Store(tmp_path), quiet=True)
    study.run()
    prompts, report = study.table("prompts"), study.table("report")
    assert report["kept"].all() and len(report) == {"hh_rlhf": 160, "own_data": 60}[task]
    samples = study.table("samples")
    asked = prompts.set_index("prompt_id").loc[samples["prompt_id"].unique()]
    assert set(asked["split"]) == {"test"} and set(asked["part"]) == {"policy"}
    if task == "own_data":
        assert not study.has("outcomes")
        assert {"init_sft", "init_demo", "closed_form"} <= set(study.table("all_scores")["scorer"])
        return
    assert {"preferences", "init_demo", "pi_sft"} <= set(study.table("summary")["method"])
    accuracy = study.table("judge_accuracy").iloc[0]
    own = prompts.set_index("prompt_id")["part"] == "judge"
    assert accuracy["n_pairs"] == (~own).sum() and accuracy["low"] <= accuracy["accuracy"] <= accuracy["high"]
    assert accuracy["longer_preferred"] == 1.0  # so the answers were made
    assert accuracy["n_training_pairs"] == (own & (prompts.set_index("prompt_id")["split"] == "train")).sum()
    labelled = study.table("preferences")
    assert not set(labelled["prompt_id"]) & set(own[own].index)


def test_profiles_say_what_the_fixtures_assume():
    spec = load_spec("harmless", "smoke")
    assert spec.world.heterogeneity == 1.0 and spec.sampling.draws == 18 and spec.world.n_test == 12


def test_preferences_alone_make_a_study(smoke):
    """No discriminator has both its sources among test responses then; it used to end in a traceback."""
    done = afd(smoke[0], *RUN, "--jobs", "1", "--set", "reward.kinds=[preferences]", "--json")
    assert done.returncode == 0, done.stderr
    methods = {record["method"] for record in json.loads(done.stdout)}
    assert "preferences" in methods and "init_sft" not in methods

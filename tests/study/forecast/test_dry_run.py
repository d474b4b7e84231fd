"""A dry run says what a study takes: by known sizes, near to what steps spend, naming its assumptions."""

import socket

import pytest
import standins

from afd_study.errors import DataError, SpecError
from afd_study.models.model_files import JUDGE, POLICY
from afd_study.models.policy import load_policy, with_lora
from afd_study.models.specs import LoRASpec
from afd_study.study import __main__ as command
from afd_study.study.forecast import dry_run
from afd_study.study.forecast.calibration import Rates
from afd_study.study.forecast.dry_run import report
from afd_study.study.forecast.model_shapes import adapters, constants, published_config, shape_of
from afd_study.study.forecast.sizes import study_sizes
from afd_study.study.forecast.step_work import Work, device_peaks, forecast, work_of
from afd_study.study.forecast.this_machine import Timed
from afd_study.study.pipeline.plan import plan
from afd_study.study.spec import load_spec
from afd_study.study.study import open_study
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.store import Store
from afd_study.worlds import alpaca_eval_corpus, hh_rlhf

# as their authors give them: GPT-2's files, the Gemma report (2.0 + 0.5 billion, 7.8 + 0.8)
KNOWN = {"gpt2": 124_439_808, "google/gemma-2b": 2.51e9, "weqweasdas/RM-Gemma-7B": 8.54e9}


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    def refuse(*_):
        raise AssertionError("a dry run asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", KNOWN)
def test_shapes_are_those_of_the_published_models(name):
    config, published = published_config(name)
    assert shape_of(config, weights="float32", published=published).parameters == pytest.approx(
        KNOWN[name], rel=2e-3
    )


@pytest.mark.parametrize("gemma", [False, True])
def test_a_shape_counts_what_a_model_has(gemma, tmp_path):
    """Against the model itself: weights, adapters, keys and values of a token."""
    standins.policy(tmp_path, gemma=gemma)
    config, published = published_config(str(tmp_path))
    assert published == "float32"
    found = shape_of(config, weights=published, published=published)
    lm = load_policy(tmp_path)
    assert found.parameters == sum(each.numel() for each in lm.parameters())
    out = lm(input_ids=lm.dummy_inputs["input_ids"][:1] % 5, use_cache=True)
    kept = sum(layer.keys.numel() + layer.values.numel() for layer in out.past_key_values.layers)
    assert found.cached == kept / lm.dummy_inputs["input_ids"].shape[1]
    assert found.inner == (2 * 64 / 32 if gemma else 4)
    lora = LoRASpec(r=3)
    with_lora(lm, lora, seed=0)
    assert adapters(config, lora) == sum(p.numel() for p in lm.parameters() if p.requires_grad)


def test_a_step_takes_the_longest_of_its_three_times():
    peaks, known = device_peaks("H100"), constants()
    whole = peaks["bfloat16"] * known["shares"]["compute"]
    assert Work(3 * whole, 0, 0, 0, True).seconds("H100") == pytest.approx(3)
    assert Work(3 * whole, 0, 0, 0, False).seconds("H100") > 3
    assert Work(0, 5 * peaks["bandwidth"] * known["shares"]["bandwidth"], 0, 0, True).seconds("H100") == 5
    assert Work(whole, 0, 1e5, 0, True).seconds("H100") == pytest.approx(1e5 * known["launch_seconds"])


def test_every_assumption_is_called_one(root):
    """A value that is neither counted nor from a source says that it is ours."""
    lines = (root / "afd_study/study/forecast/forecast.yaml").read_text().splitlines()
    for name in ("compute", "bandwidth", "launch_seconds", "dollars_per_hour", "characters_per_token"):
        assert next(line for line in lines if line.strip().startswith(f"{name}:")).count("ours") == 1


@pytest.fixture(scope="module", params=["trained", "frozen"])
def spent(request, tmp_path_factory):
    """A study that was run: what is told of its steps, and what they noted that they spent."""
    store = Store(tmp_path_factory.mktemp("store"))
    kinds = {"reward.kinds": ["sft_demo", "preferences", "init_sft_linear"], "reward.body": request.param}
    study = open_study("harmless", "smoke", 0, 1, store=store, overrides=kinds, quiet=True)
    steps = study.plans()[0].steps
    wanted = [step for name, step in steps.items() if name not in ("outcomes", "probes", "coverage")]
    execute(wanted, store, quiet=True)
    table, _ = forecast(study_sizes(study.spec), steps.items(), device="H100")
    manifests = {name: store.manifest(step) for name, step in steps.items()}
    noted = {name: found["cost"].get("flops", 0.0) for name, found in manifests.items() if found}
    return table.set_index("step"), noted


def test_what_is_told_of_steps_is_near_to_what_they_spend(spent):
    """Over it, since evaluations are not noted.

    Under it where many texts share a prompt, which is read once and noted with each; and since this policy,
    which has learned nothing, writes longer responses than the data hold.
    """
    told, noted = spent
    through = {name for name, flops in noted.items() if flops and name not in told.index}
    assert not through  # every step that noted FLOPs is told of
    ratios = {name: told.loc[name, "flops"] / noted[name] for name in told.index if noted.get(name)}
    assert len(ratios) > 12
    for name, ratio in ratios.items():
        assert 0.3 < ratio < 3, (name, ratio)


def test_the_gpu_profile_takes_under_an_hour_by_estimate():
    """Both tasks, all seeds, in both settings; pretraining is counted in each."""
    total = 0.0
    for task in ("harmless", "helpful"):
        study = open_study(task, "gpu", quiet=True)
        table, _ = forecast(study_sizes(study.spec), study.plans()[0].steps.items(), device="H100")
        cpu = 144 * 128 * constants()["cpu_seconds_per_response"]
        total += (float(table["seconds"].sum()) + cpu) * study.spec.n_seeds * len(study.spec.settings)
        assert study.spec.n_seeds == 8
    assert 600 < total < 3600


@pytest.mark.parametrize("task", ["harmless", "helpful"])
def test_the_paper_profile_says_what_it_would_fetch(task, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("AFD_STORE", str(tmp_path))
    monkeypatch.setattr(dry_run, "timed", lambda _: Timed(Rates(1e12, 1e12, 1e12, 1e12)))  # takes gigabytes
    monkeypatch.setattr(
        "sys.argv", ["afd", "run", "--task", task, "--profile", "paper", "--dry-run", "--price", "2"]
    )
    command.main()
    said = capsys.readouterr().out
    spec = load_spec(task, "paper")
    for name in (spec.policy.name_or_path, spec.judge_model.name_or_path, spec.world.hub):
        assert name in said
    peaks = device_peaks("H100")
    for stated in (
        "ESTIMATE that nobody has measured",
        "at 35% of 989 TFLOP/s",
        "at $2.00 an hour (as given)",
    ):
        assert stated in said
    assert f"{peaks['memory'] / 1e9:.0f} GB (data sheet): it fits" in said
    assert not list(tmp_path.iterdir())  # nothing was run


def test_what_is_in_the_store_is_not_told_again_and_faults_are_named(tmp_path, dialogues):
    study = open_study("harmless", "smoke", 0, 1, store=Store(tmp_path), quiet=True)
    before = list(report(study, device="H200", price=None))
    assert any("ASSUMED" in line for line in before) and any("141 GB" in line for line in before)
    study.folder("prompts")
    after = list(report(study, device="H200", price=None))
    todo = [
        int(next(line for line in lines if line.startswith("steps:")).split()[1]) for lines in (before, after)
    ]
    assert todo[1] == todo[0] - 1
    with pytest.raises(SpecError, match="H100"):
        list(report(study, device="H10", price=None))
    with pytest.raises(SpecError, match="--price -1"):
        list(report(study, device="H100", price=-1))
    unknown = open_study("harmless", "paper", overrides={"policy.name_or_path": "someone/else"}, quiet=True)
    with pytest.raises(SpecError, match="how large 'someone/else' is .* give a local folder"):
        list(report(unknown, device="H100", price=None))


def test_real_dialogues_are_counted(dialogues):
    spec = load_spec("hh_rlhf", "smoke", {"world.folder": str(dialogues)})
    corpus, found = hh_rlhf.load(spec.world), study_sizes(spec).texts
    assert found.tested == (corpus.prompts["split"] == "test").sum() / 2  # a half is the judge's
    assert found.prompt == corpus.prompts["text"].str.len().mean() / constants()["characters_per_token"]
    assert found.judge == found.preferences > 0


def test_real_systems_are_counted(systems):
    spec = load_spec("helpful", "pretrained", {"world.folder": str(systems)})
    corpus, sizes = (
        alpaca_eval_corpus.load(spec.world),
        study_sizes(load_spec("alpaca_eval", "smoke", {"world": spec.world.model_dump()})),
    )
    train = set(corpus.prompts.query("split == 'train'")["prompt_id"])
    assert sizes.texts.demonstrations == len(train) / 2  # a half is the judge's
    assert sizes.texts.judge == corpus.preferences["prompt_id"].isin(train).sum() / 2
    steps = plan(sizes.spec, task="alpaca_eval", seed=0).steps
    assert "system_corpus" == steps["corpus"].name and work_of(steps["corpus"], sizes) is None


@pytest.mark.parametrize(
    ("config", "says"),
    [("{", "cannot be read as JSON"), ('{"model_type": "strange"}', "architecture 'strange'")],
)
def test_a_bad_folder_is_refused_as_a_run_would(config, says, tmp_path):
    policy = standins.policy(tmp_path / "policy", gemma=False)
    judge = standins.judge(tmp_path / "judge", gemma=False)
    assert published_config(str(policy))[1] == published_config(str(judge), JUDGE)[1] == "float32"
    for kind, folder in ((POLICY, policy), (JUDGE, judge)):
        (folder / "config.json").write_text(config)
        with pytest.raises((DataError, SpecError), match=says):
            published_config(str(folder), kind)

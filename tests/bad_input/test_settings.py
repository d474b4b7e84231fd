"""Settings that can't be, as `--set` gives them, each beside a look-alike that has to pass."""

import pytest

from afd_study.errors import AfdError
from afd_study.study.commands import read_overrides
from afd_study.study.spec import load_spec

OWN = ("world.demonstrations=d.csv",)
JUDGE = "judge={steps: 4, batch_size: 8, evaluate_every: 2, checkpoint_every: 4}"

# title: task, bad words behind --set, what the error says, and words that look like them and are right
CASES = {
    "no value": ("harmless", ["sft.steps="], "--set sft.steps=: write it as key=value", ["sft.steps=1"]),
    "no key": ("harmless", ["=1"], "--set =1: write it as key=value", ["n_seeds=1"]),
    "no sign": ("harmless", ["sft.steps 1"], "write it as key=value", ["policy.architecture=a=b"]),
    "octal": ("harmless", ["sft.steps=010"], "'010' is no plain decimal", ["sft.steps=10"]),
    "parts of sixty": ("harmless", ["sft.steps=1:30"], "'1:30' is no plain decimal", ["sft.steps=90"]),
    "no end": ("harmless", ["sft.learning_rate=1e400"], "no plain decimal", ["sft.learning_rate=1e-4"]),
    "YAML's no end": ("harmless", ["sft.learning_rate=.inf"], "no plain decimal", ["sft.learning_rate=.5"]),
    "no number": ("harmless", ["sft.learning_rate=nan"], "no plain decimal", ["sft.patience=null"]),
    "hexadecimal": ("harmless", ["n_seeds=0x3"], "no plain decimal", ["n_seeds=3"]),
    "underscores": ("harmless", ["sft.steps=1_0"], "no plain decimal", ["sft.steps=1e1"]),
    "a comma": ("harmless", ["world.stray=0,5"], "'world.stray' = '0,5'", ["world.stray=0.5"]),
    "a unit": ("harmless", ["sft.steps=10k"], "'sft.steps' = '10k': .*integer", ["sft.steps=10.0"]),
    "a truth for a number": (
        "harmless",
        ["sft.steps=true"],
        "'sft.steps' = 'true'",
        ["policy.allow_download=true"],
    ),
    "a fraction": ("harmless", ["sft.steps=1.5"], "'sft.steps' = 1.5", ["sft.steps=15e0"]),
    "zero": ("harmless", ["sft.batch_size=0"], "greater than or equal to 1", ["sft.batch_size=1"]),
    "negative": ("harmless", ["sft.learning_rate=-1"], "greater than 0", ["sft.weight_decay=0"]),
    "huge": ("harmless", ["sft.steps=" + "9" * 5000], "no plain decimal", ["sft.steps=999999999"]),
    "octal in a mapping": (
        "hh_rlhf",
        ["policies={a: {steps: 010}}"],
        "'010' is no plain",
        ["policies={a: {steps: 10}}"],
    ),
    "octal where anything goes": (
        "harmless",
        ["policy.config.n_embd=010"],
        "'010' is no",
        ["policy.config.n_embd=8"],
    ),
    "a key twice": (
        "hh_rlhf",
        ["judge={steps: 4, steps: 5}"],
        "'steps' stands in it twice",
        ["judge={steps: 200}"],
    ),
    "an alias": ("harmless", ["reward.kinds=[&a init_sft, *a]"], "an alias", ["reward.kinds=[init_sft]"]),
    "a tag": (
        "harmless",
        ["reward.kinds=!!python/name:os.system []"],
        "neither a number",
        ["reward.kinds=[sft_demo]"],
    ),
    "an open list": (
        "harmless",
        ["reward.kinds=[init_sft"],
        "neither a number",
        ["reward.kinds=[init_sft,]"],
    ),
    "deep": ("harmless", ["policy.config=" + "[" * 5000], "neither a number", ["policy.config={n_embd: 8}"]),
    "many levels": (
        "harmless",
        ["policy.config=" + "{a: " * 50 + "1" + "}" * 50],
        "nested more",
        ["policy.config={a: {b: {c: 1}}}"],
    ),
    "a word for a list": (
        "harmless",
        ["reward.kinds=init_sft"],
        "'reward.kinds' = 'init_sft'",
        ["reward.kinds=[init_sft]"],
    ),
    "no kind": ("harmless", ["reward.kinds=[]"], "at least 1 item", ["arms.names=[]"]),
    "an unknown kind": (
        "harmless",
        ["reward.kinds=[init_stf]"],
        "did you mean 'init_sft'",
        ["reward.kinds=[init_demo]"],
    ),
    "an unknown key": ("harmless", ["sft.stepz=1"], "did you mean 'sft.steps'", ["sft.steps=1"]),
    "an unknown part": ("harmless", ["stf.steps=1"], "did you mean 'sft'", ["judge_share=0"]),
    "no part": ("harmless", ["sft..steps=1"], "unknown setting 'sft.'", ["sft.warmup_steps=0"]),
    "a part of a number": ("harmless", ["sft.steps.a=1"], "'steps' is a single value", ["policy.config.a=1"]),
    "a number for a part": ("harmless", ["sft=1"], "setting 'sft' = 1", ["pretraining=null"]),
    "an unknown word": ("harmless", ["sft.schedule=cosin"], "'cosine'", ["sft.schedule=linear"]),
    "an unknown world": ("harmless", ["world.name=harmles"], "harmles", ["world.name=helpful"]),
    "a key of another world": (
        "own_data",
        [*OWN, "world.folder=a"],
        "unknown setting 'world.folder'",
        [*OWN, "world.prompts=a"],
    ),
    "no data": ("own_data", ["world.prompts=a.csv"], "world.demonstrations", OWN),
    "a stranger's home": (
        "own_data",
        ["world.demonstrations=~nosuchuser/a.csv"],
        "nobody here is called",
        ["world.demonstrations=~/a.csv"],
    ),
    "a stranger's policy": (
        "harmless",
        ["policy.name_or_path=~nosuchuser/policy"],
        "'policy.name_or_path' = '~nosuchuser/policy': .*nobody here is called nosuchuser",
        ["policy.name_or_path=~/policy"],
    ),
    "a stranger's judge": (
        "hh_rlhf",
        ["judge=null", "judge_model.name_or_path=~nosuchuser/judge"],
        "nobody here is called nosuchuser",
        ["judge=null", "judge_model.name_or_path=~/judge"],
    ),
    "a heat without end": (
        "harmless",
        ["sampling.temperature=1e300"],
        "than or equal to 1000",
        ["sampling.temperature=1e3"],
    ),
    "no heat": (
        "harmless",
        ["sampling.temperature=1e-300"],
        "than or equal to 0.001",
        ["sampling.temperature=1e-3"],
    ),
    "a NUL": (
        "own_data",
        ["world.demonstrations=a\0.csv"],
        "can't hold the character NUL",
        ["world.demonstrations=a\\0.csv"],
    ),
    "a column of half a pair": (
        "own_data",
        [*OWN, "world.prompt_column=\ud83d"],
        "Unicode|unicode",
        [*OWN, "world.prompt_column=😀"],
    ),
    "a column of YAML": (
        "own_data",
        ["world.response_column=[1"],
        "world.demonstrations",
        [*OWN, "world.response_column=[1"],
    ),
    "a judge without preferences": (
        "own_data",
        [*OWN, JUDGE],
        "judge learns from preferences: set world.preferences",
        [*OWN, JUDGE, "world.preferences=p.csv"],
    ),
    "a kind without preferences": (
        "own_data",
        [*OWN, "reward.kinds=[preferences]"],
        "set world.preferences",
        [*OWN, "reward.kinds=[init_sft]"],
    ),
    "nothing left": (
        "own_data",
        [*OWN, "world.validation=0.5", "world.test=0.5"],
        "nothing to train on",
        [*OWN, "world.validation=0.5", "world.test=0.4"],
    ),
    "a share above one": (
        "own_data",
        [*OWN, "world.max_dropped=50"],
        "less than or equal to 1",
        [*OWN, "world.max_dropped=0.5"],
    ),
    "both sources": ("hh_rlhf", ["world.hub=a/b"], "and not both", ["world.revision=null"]),
    "a hub's path": ("hh_rlhf", ["world.hub=../a/b"], "world.hub", ["world.folder=../a/b"]),
    "a subset twice": (
        "hh_rlhf",
        ["world.subsets=[helpful-base, helpful-base]"],
        "twice",
        ["world.subsets=[helpful-base]"],
    ),
    "a demonstrator that is left out": (
        "alpaca_eval",
        ["world.leave_out=[alpaca-7b, gpt4]"],
        "the demonstrator 'gpt4' stands in leave_out",
        ["world.leave_out=[alpaca-7b, gpt4]", "world.demonstrator=claude"],
    ),
    "no pair": ("alpaca_eval", ["world.pairs_per_prompt=0"], "than or equal to 1", ["world.pair_seed=0"]),
    "a system for a list": (
        "alpaca_eval",
        ["world.leave_out=claude"],
        "'world.leave_out' = 'claude'",
        ["world.leave_out=[claude]"],
    ),
    "an empty stop": ("hh_rlhf", ['sampling.stop=[""]'], "an empty text", ['sampling.stop=["010"]']),
    "two judges": (
        "hh_rlhf",
        ["judge_model.name_or_path=a"],
        "set judge to null",
        ["judge=null", "judge_model.name_or_path=010"],
    ),
}


def settings(task, words):
    in_folder = task in ("hh_rlhf", "alpaca_eval") and not any("folder" in word for word in words)
    folder = {"world.folder": "."} if in_folder else {}
    return load_spec(task, "smoke", folder | read_overrides(words))


@pytest.mark.parametrize("title", CASES)
def test_a_bad_setting_is_one_clear_error(title):
    task, words, says, _ = CASES[title]
    with pytest.raises(AfdError, match=says) as error:
        settings(task, words)
    assert len(str(error.value)) < 900 and "Traceback" not in str(error.value)


@pytest.mark.parametrize("title", CASES)
def test_its_look_alike_passes(title):
    task, _, _, words = CASES[title]
    settings(task, words)

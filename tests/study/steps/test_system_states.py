"""A pretrained model reads systems' answers: an interruption costs a chunk, and cut answers are marked."""

import gguf_models
import numpy as np
import pytest
from alpaca_folders import record, write_system

from afd_study.models.batches import Example
from afd_study.models.gguf_files import convert
from afd_study.models.policy import pretrained
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import ModelSpec
from afd_study.models.tokenizers import encode
from afd_study.study.steps import system_states as step
from afd_study.study.steps.systems import read_answers, system_answers
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table
from afd_study.worlds.alpaca_eval import AlpacaEvalSpec, load_answers

SPEC = {"systems": ["alpha", "beta"]}
HOW = {
    "spec": SPEC,
    "weights": "",
    "layer": 1,
    "dtype": "float32",
    "max_prompt_tokens": 30,
    "max_new_tokens": 26,
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A made-up copy of AlpacaEval, its answers read, and a tiny Llama."""
    folder = tmp_path_factory.mktemp("alpaca")
    for system in SPEC["systems"]:
        texts = [f"{system} says so {number} " * (1 + number % 3) for number in range(25)]
        write_system(folder, system, [record(number, text) for number, text in enumerate(texts)])
    model = tmp_path_factory.mktemp("model") / "llama"
    convert(gguf_models.write(gguf_models.llama(), model.with_name("tiny.gguf")), model)
    answers = tmp_path_factory.mktemp("answers")
    system_answers(answers, Context(answers), spec=SPEC, digest="", folder=str(folder))
    return {"folder": str(folder), "model": str(model), "answers": answers}


def run(out, workspace, places, **changes):
    for folder in (out, workspace):
        folder.mkdir(exist_ok=True)
    step.system_states(out, Context(workspace), **HOW | places | changes)
    return step.read_states(out), read_table(out, "system_logprobs")


def test_every_answer_has_its_states_and_its_log_probability(tmp_path, places):
    states, table = run(tmp_path / "out", tmp_path / "work", places)
    grid = read_answers(places["answers"]).grid
    assert len(table) == 75 and len(states) == 75 and np.isfinite(states).all()
    assert set(table["row"]) == set(grid.rows.ravel())
    assert 0 < table["cut"].mean() < 1 and (table.loc[table["cut"], "tokens"] == 26).all()
    assert (states.std(axis=0) > 0).mean() > 0.9


def test_an_interrupted_run_reads_what_is_left_alone(tmp_path, places, monkeypatch):
    whole, table = run(tmp_path / "whole", tmp_path / "one", places)
    calls, real = [], step.text_states

    def stopped(*args, **settings):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **settings)

    monkeypatch.setattr(step, "text_states", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", tmp_path / "two", places)
    monkeypatch.setattr(step, "text_states", real)
    damaged = tmp_path / "two" / "chunk-0002.safetensors"
    damaged.write_bytes(b"cut")
    again, same = run(tmp_path / "out", tmp_path / "two", places)
    assert np.array_equal(again, whole) and same.equals(table)


def test_log_probabilities_are_those_of_the_chat(tmp_path, places):
    _, table = run(tmp_path / "out", tmp_path / "work", places, max_prompt_tokens=90, max_new_tokens=90)
    lm, tokenizer = pretrained(ModelSpec(name_or_path=places["model"], dtype="float32"))
    row = table[(table["system"] == "alpha") & ~table["cut"]].iloc[0]
    texts = load_answers(AlpacaEvalSpec(folder=places["folder"]))
    answer = texts.answers.set_index(["prompt_id", "system"]).loc[(row["prompt_id"], "alpha"), "text"]
    prompt = texts.prompts.set_index("prompt_id").loc[row["prompt_id"], "text"]
    asked = prompt.removeprefix("\n\nHuman: ").removesuffix("\n\nAssistant:")
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer.strip()}]
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    ids = encode(tokenizer, [whole[: whole.index(answer.strip())], answer.strip()])
    assert row["tokens"] == len(ids[1]) + 1
    marked = tokenizer(whole[: whole.index(answer.strip())], add_special_tokens=False)["input_ids"]
    example = Example((*marked, *ids[1], tokenizer.eos_token_id), len(marked))
    assert row["logprob"] == pytest.approx(sequence_logprobs(lm, [example])[0], abs=1e-3)

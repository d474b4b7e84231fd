"""Other ways of doing the engine's work do that work, wherever they run at all."""

import numpy as np
import pytest
import torch
from minis import EOS, SHAPES, VOCABULARY

from afd_study.errors import SpecError
from afd_study.models.batches import collate
from afd_study.models.decoding import Request, sample
from afd_study.models.scoring import hidden_states
from afd_study.models.token_sampling import uniforms
from benchmarks import packed, shapes, static, texts, variants

CPU, ROOM = torch.device("cpu"), 24


@pytest.fixture(autouse=True, params=SHAPES)
def mini(request, monkeypatch):
    monkeypatch.setitem(shapes.SHAPES, "mini", SHAPES[request.param])
    monkeypatch.setattr(variants, "batch_size", lambda model, device: 4)


def both(kernel, device=CPU, **options):
    """Return final hidden states of texts' tokens: padded, and packed by a kernel."""
    body = shapes.stock(shapes.build("mini", **options)).base_model.to(device)
    examples = texts.examples(5, VOCABULARY, seed=1)
    batch = collate(examples).to(device)
    real = torch.arange(batch.ids.shape[1], device=device) < batch.lengths[:, None]
    return hidden_states(body, batch.ids)[real], packed.states(body, packed.pack(examples, device), kernel)


def test_texts_end_to_end_have_the_states_that_they_have_padded():
    expected, result = both("one by one")
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # it is compiled
def test_flex_attention_keeps_texts_apart():
    with torch.no_grad():  # on a CPU it has no backward pass
        expected, result = both("flex")
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def test_a_packed_text_sees_nothing_of_its_neighbours():
    body = shapes.build("mini").base_model
    examples = texts.examples(3, VOCABULARY, seed=1)
    with torch.no_grad():
        together = packed.states(body, packed.pack(examples, CPU), "one by one")
        alone = packed.states(body, packed.pack(examples[1:2], CPU), "one by one")
    first = len(examples[0].ids)
    torch.testing.assert_close(together[first : first + len(alone)], alone, rtol=1e-5, atol=1e-5)
    usual = body.config._attn_implementation
    assert usual != packed.NAME, "a model is left with the attention that it had"


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", packed.KERNELS)
def test_kernels_of_a_gpu_have_the_same_states(kernel):
    expected, result = both(kernel, torch.device("cuda"), dtype=torch.bfloat16)
    torch.testing.assert_close(result, expected, rtol=5e-2, atol=5e-2)


def table(device=CPU, dtype=torch.float32):
    """Return a static table of three prompts with four draws each, and what the engine draws."""
    lm = shapes.ending(shapes.build("mini", dtype=dtype), EOS, mean_length=10).to(device).eval()
    asked = texts.prompts(3, VOCABULARY, seed=2)
    requests = [Request(str(i), ids, draw) for i, ids in enumerate(asked) for draw in range(4)]
    noise = np.stack([uniforms(0, each.prompt_id, each.draw, ROOM) for each in requests])
    with torch.no_grad():
        made = static.Table(lm, asked, torch.from_numpy(noise).to(device), EOS)
    return made, sample(lm, requests, seed=0, eos_id=EOS, max_new_tokens=ROOM)


def responses(made):
    return [tuple(ids[:n]) for ids, n in zip(made.tokens.tolist(), made.lengths.tolist(), strict=True)]


def test_drawing_in_fixed_memory_draws_what_the_engine_draws(mini):
    made, expected = table()
    asked = texts.prompts(3, VOCABULARY, seed=2)
    with torch.no_grad():
        noise = made.noise.clone()
        made.read([ids[::-1] for ids in asked], 1 - noise)  # others, as long
        made.run(made.step)
        with pytest.raises(SpecError, match="each as long"):
            made.read(asked[:1], noise)
    assert responses(made) != [each.ids for each in expected]
    for _ in range(2):  # the second finds memory as the first left it
        with torch.no_grad():
            made.read(asked, noise)
            made.run(made.step)
        assert responses(made) == [each.ids for each in expected]
        np.testing.assert_allclose(made.logprobs.numpy(), [each.logprob for each in expected], atol=1e-4)
    assert len({len(each.ids) for each in expected}) > 3, "the test needs rows that end at different times"


@pytest.mark.gpu
def test_a_graph_replays_the_step_that_it_was_made_of():
    made, expected = table(torch.device("cuda"))
    with torch.no_grad():
        made.run(made.step)
        launched = responses(made)
        made.run(static.captured(made))
    assert responses(made) == launched == [each.ids for each in expected]


def test_every_way_that_a_cpu_has_is_timed_beside_the_engine():
    result = variants.measure(["mini"], CPU, 2, without=["compiled"])
    assert list(result.columns) == variants.COLUMNS and set(result["work"]) == set(variants.WORKS)
    off = result["way"].isin(variants.NEEDS_GPU)
    assert (result["fault"][off] == "needs a GPU").all() and result["seconds"][off].isna().all()
    assert (result["fault"][~off] == "").all() and (result["seconds"][~off] > 0).all()
    engine = result[result["way"] == "engine"]
    assert len(engine) == len(variants.WORKS) and (engine["ratio"] == 1).all()


def test_tokens_must_be_the_same_and_numbers_within_their_spread():
    variants.assert_alike(torch.tensor([1, 49]), torch.tensor([1, 49]), 0.1)
    with pytest.raises(AssertionError, match="tokens"):
        variants.assert_alike(torch.tensor([1000]), torch.tensor([1001]), 0.1)
    numbers = torch.tensor([-11.0, -11.5, -10.5])
    variants.assert_alike(numbers + 0.01, numbers, 0.1)
    with pytest.raises(AssertionError, match="off by"):
        variants.assert_alike(numbers.flip(0) + 0.3, numbers, 0.1)


@pytest.mark.slow
def test_compiled_ways_come_to_the_same():
    result = variants.measure(["mini"], CPU, 1)
    compiled = result[result["way"] == "padded, compiled"]
    assert len(compiled) == 2 and (compiled["fault"] == "").all()


def test_a_way_that_errs_or_fails_is_reported_and_the_others_go_on():
    def fails():
        raise RuntimeError("no kernel for this\nshape")

    numbers = torch.arange(3.0)
    ways = {
        "engine": lambda: (numbers,),
        "other": lambda: (numbers.flip(0),),
        "broken": fails,
        "same": lambda: (numbers + 1e-5,),
    }
    timed = variants.ways_in_turns(ways, CPU, 1, "test")
    rows = {name: (seconds, fault) for name, seconds, _, _, _, fault in timed}
    assert "AssertionError" in rows["other"][1] and np.isnan(rows["other"][0])
    assert rows["broken"][1] == "RuntimeError: no kernel for this shape"
    assert rows["same"][1] == "" and rows["same"][0] > 0
    runs = iter(range(9))

    def tires():
        return (numbers,) if next(runs) < 2 else fails()

    late = {name: row for name, *row in variants.ways_in_turns({**ways, "tires": tires}, CPU, 3, "test")}
    assert np.isnan(late["tires"][0]) and late["tires"][-1].startswith("RuntimeError") and late["same"][0] > 0
    without = {"engine": fails, "other": ways["other"], "needless": ways["broken"]}
    faults = [row[-1] for row in variants.ways_in_turns(without, CPU, 1, "test")]
    assert faults[0] == "RuntimeError: no kernel for this shape" and all(faults), (
        "there is nothing to compare with"
    )

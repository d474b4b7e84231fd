"""Policy gradient: the gradient is unbiased, and training ends at the closed-form optimum."""

import json

import numpy as np
import pytest
import torch

from afd_study.errors import DataError, SpecError
from afd_study.methods.policy_gradient import Anchored, Group, optimise, policy_loss
from afd_study.methods.responses import responses, stream
from afd_study.methods.specs import PolicyGradientSpec
from afd_study.models.batches import Example, collate
from afd_study.models.scoring import entropies, sequence_logprobs
from afd_study.models.specs import LoRASpec
from afd_study.models.training import TrainingError
from afd_study.theory.divergences import divergence
from afd_study.theory.objectives import leave_one_out
from afd_study.theory.tilting import regularised_optimum

REWARDS = torch.randn(15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def settings(**changed):
    options = {
        "steps": 6,
        "batch_size": 1,
        "draws": 8,
        "learning_rate": 1e-2,
        "kl_coefficient": 0.5,
        "evaluate_every": 2,
        "checkpoint_every": 2,
        "evaluation_draws": 16,
    }
    return PolicyGradientSpec(**{**options, **changed})


@pytest.fixture
def run(listed, tmp_path):
    """Return a function that optimises a fresh policy on the listed world: (policy, trajectory)."""

    def go(
        name="run",
        *,
        start=0,
        lm=None,
        reference=None,
        score=None,
        seed=0,
        progress=None,
        lora=None,
        **changed,
    ):
        return optimise(
            lm or listed.model(start),
            listed.prompts,
            reference=reference or listed.model(0),
            score=score or (lambda examples: REWARDS[listed.index(examples)].numpy()),
            validation=listed.prompts,
            spec=settings(**changed),
            seed=seed,
            eos_id=listed.eos_id,
            max_new_tokens=3,
            workspace=tmp_path / name,
            lora=lora,
            progress=progress or (lambda step, note: None),
        )

    return go


def gap(listed, policy, *, coefficient):
    """KL(policy || closed-form optimum of REWARDS from model 0), nats."""
    law = listed.law(listed.model(0))
    best = regularised_optimum(reference=law, rewards=REWARDS, temperature=coefficient)
    return float(divergence("reverse_kl", demo=best, policy=listed.law(policy)))


def test_rloo_with_the_exact_reward_ends_at_the_closed_form_optimum(listed, run):
    assert gap(listed, listed.model(0), coefficient=1.5) > 0.15
    policy, path = run(
        kl_coefficient=1.5,
        steps=200,
        draws=384,
        learning_rate=2e-3,
        evaluate_every=100,
        checkpoint_every=100,
        evaluation_draws=512,
    )
    assert gap(listed, policy, coefficient=1.5) < 1e-3
    law, reference = listed.law(policy), listed.law(listed.model(0))
    drift = float(divergence("reverse_kl", demo=reference, policy=law))
    assert path["kl"].iloc[-1] == pytest.approx(drift, rel=0.2)
    assert path["proxy"].iloc[-1] == pytest.approx(float((law * REWARDS).sum()), abs=0.15)


def test_ppo_goes_the_same_way(listed, run):
    policy, _ = run(
        algorithm="ppo_clip",
        epochs=3,
        kl_coefficient=1.5,
        steps=40,
        draws=128,
        learning_rate=3e-3,
        evaluate_every=40,
        checkpoint_every=40,
    )
    assert gap(listed, policy, coefficient=1.5) < 0.02


# the gradient


def gradient(value, module):
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    return torch.cat([part.flatten() for part in torch.autograd.grad(value, weights)])


def objective(listed, module, coefficient):
    """E[reward] - coefficient KL(policy || reference), exact and differentiable, from laws of responses."""
    batch = collate(listed.examples)
    logprobs = module(batch)[0].per_response(15)
    reference = torch.from_numpy(sequence_logprobs(module.reference, listed.examples))
    return (logprobs.exp() * (REWARDS - coefficient * (logprobs - reference))).sum()


def group(listed, module, pair, spec):
    """A group of two responses, with what PPO remembers computed by hand."""
    examples = tuple(listed.examples[i] for i in pair)
    with torch.no_grad():
        logprobs, kl = module(collate(examples))
    rewards = REWARDS[list(pair)]
    folded = rewards - spec.kl_coefficient * kl
    return Group(
        examples,
        tuple(rewards.tolist()),
        tuple((folded - leave_one_out(folded)).tolist()),
        tuple(logprobs.values.tolist()),
    )


@pytest.mark.parametrize("algorithm", ["rloo", "ppo_clip"])
@pytest.mark.parametrize("coefficient", [0.0, 0.7])
def test_the_mean_gradient_over_all_pairs_of_responses_is_the_exact_one(listed, algorithm, coefficient):
    module = Anchored(listed.model(1), listed.model(0)).eval()
    spec = settings(algorithm=algorithm, draws=2, kl_coefficient=coefficient)
    exact = gradient(objective(listed, module, coefficient), module)
    law = listed.law(module.lm)
    mean = 0
    for i in range(15):
        losses = [
            law[i] * law[j] * policy_loss(module, [group(listed, module, (i, j), spec)], spec)
            for j in range(15)
        ]
        mean = mean - gradient(sum(losses), module)
    assert exact.abs().max() > 0.1
    torch.testing.assert_close(mean, exact, atol=2e-5 * float(exact.abs().max()) + 1e-6, rtol=1e-3)


def test_without_the_prefixes_term_the_gradient_would_be_another(listed):
    """This shows that the test above would see a missing term: the prefixes carry some of the KL here."""
    module = Anchored(listed.model(1), listed.model(0)).eval()
    law = listed.law(module.lm)
    full = gradient(objective(listed, module, 1.0) - objective(listed, module, 0.0), module)
    along = gradient(-(law * module(collate(listed.examples))[1]).sum(), module)
    assert float((full - along).norm() / full.norm()) > 0.1


def test_the_kl_along_prefixes_is_that_of_the_laws_of_responses(listed, run):
    module = Anchored(listed.model(1), listed.model(0)).eval()
    law, batch = listed.law(module.lm), collate(listed.examples)
    exact = float(divergence("reverse_kl", demo=listed.law(module.reference), policy=law))
    with torch.no_grad():
        assert float((law * module(batch)[1]).sum()) == pytest.approx(exact, abs=1e-5)
        entropy = float((law * entropies(module.lm, batch)).sum())
    assert entropy == pytest.approx(float(torch.special.entr(law).sum()), abs=1e-5)
    _, path = run(start=1, learning_rate=1e-9, steps=1, evaluation_draws=2000)
    first = path.iloc[0]
    assert first["kl"] == pytest.approx(exact, rel=0.1) and exact > 0.3
    assert first["entropy"] == pytest.approx(entropy, rel=0.1)
    assert first["proxy"] == pytest.approx(float((law * REWARDS).sum()), abs=0.1)
    lengths = torch.tensor([len(example.ids) - 1.0 for example in listed.examples], dtype=torch.float64)
    assert first["length"] == pytest.approx(float((law * lengths).sum()), abs=0.1)


def test_ppos_first_step_on_a_batch_is_rloos_and_its_next_is_not(run, gradients, assert_same_gradient):
    run("a", start=1, steps=1)
    run("b", start=1, steps=1, algorithm="ppo_clip", epochs=2)
    [rloo], [first, second] = gradients
    assert_same_gradient(first, rloo)
    assert (second - first).abs().max() > 1e-2 * rloo.abs().max()


def test_dropout_is_off_where_the_law_is_differentiated(listed, run, gradients):
    def start(dropout):
        lm = listed.model(1)
        for part in lm.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = dropout
        return lm

    for dropout in (0.0, 0.5):
        run(str(dropout), lm=start(dropout), steps=1)
    assert torch.equal(gradients[0][0], gradients[1][0])


@pytest.mark.parametrize("algorithm", ["rloo", "ppo_clip"])
def test_gradients_do_not_depend_on_how_a_step_is_cut(
    listed, tmp_path, gradients, assert_same_gradient, algorithm
):
    prompts = {f"p{i}": (3 + i % 2, 4)[: 1 + i // 2] for i in range(4)}
    for micro in (None, 1, 3):
        spec = settings(  # not clipped: clipping would hide a wrong scale
            steps=1, batch_size=4, micro_batch_size=micro, algorithm=algorithm, max_grad_norm=1e9
        )
        optimise(
            listed.model(1),
            prompts,
            reference=listed.model(0),
            validation=prompts,
            spec=spec,
            seed=0,
            score=lambda examples: np.array([len(example.ids) for example in examples]),
            eos_id=listed.eos_id,
            max_new_tokens=3,
            workspace=tmp_path / str(micro),
        )
    whole, *parts = (each[0] for each in gradients)
    for part in parts:
        assert_same_gradient(part, whole)


# the run


def weights(lm):
    return {name: weight.detach().clone() for name, weight in lm.named_parameters()}


def same(first, second):
    return all(torch.equal(weight, second[name]) for name, weight in first.items())


def test_equal_seeds_give_equal_bits(run):
    (a, path), (b, again), (c, other) = (
        run(name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert same(weights(a), weights(b)) and path.equals(again)
    assert not same(weights(a), weights(c)) and not path.equals(other)


class Killed(Exception):
    pass


@pytest.mark.parametrize("changed", [{}, {"algorithm": "ppo_clip", "epochs": 3}])
def test_an_interrupted_run_ends_with_the_same_bits(run, changed):
    expected, path = run("whole", **changed)

    def stop(step, note):
        if step == 5 * changed.get("epochs", 1):
            raise Killed

    with pytest.raises(Killed):
        run("killed", progress=stop, **changed)
    seen = []
    found, resumed = run("killed", start=9, progress=lambda step, note: seen.append(step), **changed)
    assert seen[0] == 4 * changed.get("epochs", 1) + 1  # not from the weights that came in
    assert same(weights(found), weights(expected)) and resumed.equals(path)


def test_the_path_begins_before_the_first_step_and_has_a_row_an_evaluation(run):
    for name, changed in (("a", {"steps": 5}), ("b", {"steps": 5, "algorithm": "ppo_clip", "epochs": 2})):
        _, path = run(name, **changed)
        assert list(path.columns) == ["step", "proxy", "kl", "length", "entropy"]
        assert path["step"].tolist() == [0, 2, 4, 5]
        assert path["kl"].iloc[0] == pytest.approx(0, abs=1e-9) and path["kl"].iloc[-1] > 1e-4


def test_the_last_weights_are_returned(listed, run):
    policy, path = run(evaluation_draws=64)
    examples = responses(
        policy, listed.prompts, ["p"], draws=64, seed=stream(0, 2), eos_id=listed.eos_id, max_new_tokens=3
    )
    assert path["proxy"].iloc[-1] == pytest.approx(float(REWARDS[listed.index(examples)].mean()), abs=1e-9)


def test_steps_draw_with_numbers_of_their_own(listed, run):
    seen = []

    def score(examples):
        seen.append(list(examples))
        return REWARDS[listed.index(examples)].numpy()

    run(score=score, steps=4, learning_rate=1e-9, evaluate_every=1, checkpoint_every=1)
    evaluated, trained = seen[::2], seen[1::2]
    assert all(each == evaluated[0] for each in evaluated) and len(evaluated) == 5
    assert len(trained) == 4 and all(trained[0] != each for each in trained[1:])


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_stops_and_keeps_the_responses(listed, run, tmp_path, broken):
    seen = []

    def score(examples):
        seen.append(list(examples))
        rewards = REWARDS[listed.index(examples)].numpy().copy()
        rewards[3] = broken if len(seen) == 4 else rewards[3]  # evaluation, two steps, evaluation
        return rewards

    with pytest.raises(TrainingError, match=rf"the reward is {broken} at step 2: .*batch-2.json"):
        run(score=score)
    batch = json.loads((tmp_path / "run" / "batch-2.json").read_text())
    assert [Example(tuple(ids), start) for ids, start in batch] == seen[-1]


def test_the_reference_is_left_as_it_is(listed, run):
    reference = listed.model(1)
    before = weights(reference)
    policy, _ = run(reference=reference)
    assert same(weights(reference), before) and not same(weights(policy), weights(listed.model(0)))
    assert all(weight.requires_grad for weight in reference.parameters())  # a copy of it can be trained next


def test_adapters_are_trained_and_merged(listed, run):
    before = weights(listed.model(0))
    policy, path = run(lora=LoRASpec(r=2), learning_rate=3e-2)
    after = weights(policy)
    assert set(after) == set(before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.endswith("c_attn.weight") for name in changed)
    assert path["kl"].iloc[-1] > 1e-3


def test_what_cannot_be_used_is_refused(listed, run, tmp_path):
    with pytest.raises(SpecError, match=r"score gave shape \(1,\) for 16 examples"):
        run(score=lambda examples: np.zeros(1))
    with pytest.raises(DataError, match="1 examples do not fill a batch of 2"):
        run(batch_size=2)
    lm = listed.model(0)
    options = {
        "score": len,
        "spec": settings(),
        "seed": 0,
        "eos_id": listed.eos_id,
        "max_new_tokens": 3,
        "workspace": tmp_path,
    }
    with pytest.raises(SpecError, match="reference is the policy itself"):
        optimise(lm, listed.prompts, reference=lm, validation=listed.prompts, **options)
    with pytest.raises(DataError, match="there are no validation prompts"):
        optimise(lm, listed.prompts, reference=listed.model(1), validation={}, **options)
    with pytest.raises(ValueError, match="rloo needs fresh responses"):
        settings(epochs=2)
    with pytest.raises(ValueError, match="patience must be None"):
        settings(patience=3)

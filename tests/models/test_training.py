"""The loop: gradients ignore how a step is cut, checkpoints resume bit for bit, the best weights are kept."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from afd_study.errors import AfdError, DataError
from afd_study.models.specs import TrainingSpec
from afd_study.models.training import Evaluation, TrainingError, descend, rate, train

ITEMS = [(float(x), float(y)) for x, y in np.random.default_rng(0).normal(size=(40, 2))]


class Net(nn.Module):
    """A small net with dropout, so that the generator's state counts."""

    def __init__(self, seed=0, dropout=0.3):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))

    def forward(self, x):
        return self.body(x)


def squared(net, items, constant=8):
    x, y = torch.tensor(items).T
    return ((net(x[:, None])[:, 0] - y) ** 2).sum() / constant


def error(net):
    with torch.no_grad():
        return float(squared(net, ITEMS, constant=len(ITEMS)))


def fit(workspace, *, net=None, seed=0, items=ITEMS, loss=squared, evaluate=error, progress=None, **settings):
    options = {
        "steps": 24,
        "batch_size": 8,
        "learning_rate": 0.05,
        "evaluate_every": 4,
        "checkpoint_every": 8,
    }
    fitted, evaluations = train(
        net or Net(),
        items,
        loss=loss,
        length=lambda item: 1,
        spec=TrainingSpec(**{**options, **settings}),
        seed=seed,
        evaluate=evaluate,
        workspace=workspace,
        progress=progress or (lambda step, note: None),
    )
    return fitted.state_dict(), evaluations


def assert_equal(result, expected):
    assert result[1] == expected[1]
    assert all(torch.equal(result[0][name], expected[0][name]) for name in expected[0])


def test_equal_seeds_give_equal_bits_and_other_seeds_others(tmp_path):
    result = []
    for name, seed, elsewhere in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
        net = Net()
        torch.manual_seed(elsewhere)  # what others did to the global state has no say, dropout included
        result.append(fit(tmp_path / name, net=net, seed=seed))
    assert_equal(result[1], result[0])
    assert result[2][1] != result[0][1]


def test_training_lowers_the_loss_and_notes_it(tmp_path):
    items = [(x, float(np.sin(2 * x))) for x, _ in ITEMS]
    seen = []
    _, evaluations = fit(
        tmp_path,
        net=Net(dropout=0),
        items=items,
        steps=200,
        evaluate_every=50,
        checkpoint_every=50,
        evaluate=lambda net: float(squared(net, items, constant=len(items)).detach()),
        progress=lambda step, note: seen.append((step, note)),
    )
    assert [each.step for each in evaluations] == [50, 100, 150, 200]
    assert evaluations[-1].validation_loss < 0.1 < 0.3 < np.var([y for _, y in items])
    assert evaluations[-1].training_loss == pytest.approx(evaluations[-1].validation_loss, abs=0.05)
    assert [step for step, _ in seen] == list(range(1, 201))
    assert seen[120][1] == f"loss {evaluations[1].validation_loss:.3f}"


@pytest.mark.parametrize("size", [1, 3, 4])
def test_a_step_may_be_cut_into_parts(tmp_path, gradients, size):
    whole = fit(tmp_path / "whole", net=Net(dropout=0))
    parts = fit(tmp_path / "parts", net=Net(dropout=0), micro_batch_size=size)
    assert len(gradients) == 2 * 24
    for in_parts, at_once in zip(gradients[24], gradients[0], strict=True):  # of the first step
        torch.testing.assert_close(in_parts, at_once, rtol=1e-5, atol=1e-6)
    losses = [[each.training_loss for each in run[1]] for run in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


class Killed(Exception):
    pass


def killed_at(step):
    def progress(now, note):
        if now == step:
            raise Killed

    return progress


@pytest.mark.parametrize("step", [3, 8, 9, 13, 16, 23])
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path, step):
    expected = fit(tmp_path / "uninterrupted")
    with pytest.raises(Killed):
        fit(tmp_path / "killed", progress=killed_at(step))
    torch.manual_seed(step)  # whatever else the process did meanwhile
    seen = []
    result = fit(tmp_path / "killed", net=Net(seed=9), progress=lambda now, note: seen.append(now))
    # a fresh net with other weights: if a checkpoint were not read, the ends would differ
    if step > 8:
        assert seen[0] == (step - 1) // 8 * 8 + 1
        assert_equal(result, expected)
    else:
        assert seen[0] == 1 and result[1] != expected[1]
        assert_equal(fit(tmp_path / "killed-again"), expected)


def test_a_run_killed_while_it_writes_a_checkpoint_goes_on_from_the_one_before(tmp_path, monkeypatch):
    expected = fit(tmp_path / "uninterrupted")
    with pytest.raises(Killed):
        fit(tmp_path / "killed", progress=killed_at(12))
    half = tmp_path / "killed" / "checkpoint.new"
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"half a file")
    assert_equal(fit(tmp_path / "killed", net=Net(seed=9)), expected)


def test_early_stopping_survives_an_interruption(tmp_path):
    losses = [5.0, 3.0, 4.0, 4.5, 3.5, 3.1, 3.2, 1.0]

    def scripted(run):
        left = iter(losses[run:])
        return lambda net: next(left)

    expected = fit(tmp_path / "a", evaluate=scripted(0), evaluate_every=2, checkpoint_every=2, patience=5)
    assert [each.validation_loss for each in expected[1]] == losses[:7]  # five without a new best
    with pytest.raises(Killed):
        fit(
            tmp_path / "b",
            evaluate=scripted(0),
            evaluate_every=2,
            checkpoint_every=2,
            patience=5,
            progress=killed_at(9),
        )
    again = fit(
        tmp_path / "b",
        net=Net(seed=9),
        evaluate=scripted(4),
        evaluate_every=2,
        checkpoint_every=2,
        patience=5,
    )
    assert_equal(again, expected)


def test_the_weights_of_the_lowest_validation_loss_are_kept(tmp_path):
    seen = []

    def evaluate(net):
        assert not net.training
        seen.append({name: weight.clone() for name, weight in net.state_dict().items()})
        return [3.0, 1.0, 2.0, 2.0, 1.0, 9.0][len(seen) - 1]

    weights, evaluations = fit(tmp_path, evaluate=evaluate)
    assert len(evaluations) == 6
    assert all(torch.equal(weights[name], seen[1][name]) for name in weights)  # the first of equals
    assert any(not torch.equal(seen[1][name], seen[5][name]) for name in weights)


class Tally:
    """Something that changes beside the module, and that batches are made from."""

    def __init__(self, total=0.0):
        self.total = total

    def save(self, folder):
        (folder / "total.json").write_text(json.dumps(self.total))

    def load(self, folder):
        self.total = json.loads((folder / "total.json").read_text())


def go_down(workspace, *, tally, net=None, keep="last", progress=None):
    seen = []

    def batch(step, share):
        seen.append(step)
        tally.total += step * 0.01
        return [(x + tally.total, y) for x, y in ITEMS[step : step + 8][share]]

    spec = TrainingSpec(steps=24, batch_size=8, learning_rate=0.05, evaluate_every=4, checkpoint_every=8)
    fitted, evaluations = descend(
        net or Net(),
        batch,
        loss=squared,
        spec=spec,
        seed=0,
        evaluate=lambda net, step: error(net) + step,
        workspace=workspace,
        keep=keep,
        beside={"tally": tally},
        progress=progress or (lambda step, note: None),
    )
    return (fitted.state_dict(), evaluations), seen


@pytest.mark.parametrize("step", [9, 16, 23])
def test_what_changes_beside_the_module_is_in_its_checkpoints(tmp_path, step):
    expected, seen = go_down(tmp_path / "uninterrupted", tally=Tally())
    assert seen == list(range(24))
    with pytest.raises(Killed):
        go_down(tmp_path / "killed", tally=Tally(), progress=killed_at(step))
    tally = Tally(99.0)
    result, seen = go_down(tmp_path / "killed", tally=tally, net=Net(seed=9))
    assert_equal(result, expected)
    assert seen[0] == (step - 1) // 8 * 8 and tally.total == pytest.approx(sum(range(24)) * 0.01)


def test_the_last_weights_are_kept_where_asked(tmp_path):
    """The step is added to the losses here, so that the first evaluation is the best."""
    (last, evaluations), _ = go_down(tmp_path / "last", tally=Tally())
    (best, _), _ = go_down(tmp_path / "best", tally=Tally(), keep="best")
    losses = [each.validation_loss for each in evaluations]
    assert losses == sorted(losses)
    assert any(not torch.equal(best[name], last[name]) for name in last)
    net = Net()
    net.load_state_dict(last)
    assert error(net.eval()) + 24 == pytest.approx(losses[-1])


def test_the_last_step_is_evaluated_wherever_it_falls(tmp_path):
    _, evaluations = fit(tmp_path, steps=10, evaluate_every=4, checkpoint_every=4)
    assert [each.step for each in evaluations] == [4, 8, 10]
    _, evaluations = fit(tmp_path / "b", steps=3, evaluate_every=4, checkpoint_every=4)
    assert [each.step for each in evaluations] == [3]


def test_a_loss_that_is_no_number_stops_training_and_keeps_its_batch(tmp_path):
    calls = []

    def loss(net, items):
        calls.append(items)
        return squared(net, items) * (float("nan") if len(calls) == 6 else 1)

    with pytest.raises(TrainingError, match=r"the loss is nan at step 5: .*batch-5.json") as fault:
        fit(tmp_path / "workspace", loss=loss)
    assert isinstance(fault.value, AfdError) and "learning_rate" in str(fault.value)
    kept = json.loads((tmp_path / "workspace" / "batch-5.json").read_text())
    assert [tuple(item) for item in kept] == list(calls[5])


def test_an_infinite_loss_is_no_loss_either(tmp_path):
    with pytest.raises(TrainingError, match="the loss is inf"):
        fit(tmp_path, loss=lambda net, items: squared(net, items) + float("inf"))


def test_a_gradient_that_is_no_number_under_a_finite_loss_stops_before_it_reaches_the_weights(tmp_path):
    calls = []

    def loss(net, items):
        calls.append(items)
        at_a_kink = sum((weight - weight.detach()).abs().sum().sqrt() for weight in net.parameters())
        return squared(net, items) + (at_a_kink if len(calls) == 4 else 0)  # worth 0, slope 0 / 0

    with pytest.raises(TrainingError, match=r"the gradient's norm is nan at step 3: .*batch-3.json"):
        fit(tmp_path / "workspace", loss=loss)
    kept = json.loads((tmp_path / "workspace" / "batch-3.json").read_text())
    assert [tuple(item) for item in kept] == list(calls[3])


def test_fewer_items_than_a_batch_are_refused(tmp_path):
    with pytest.raises(DataError, match="7 examples do not fill a batch of 8"):
        fit(tmp_path, items=ITEMS[:7])


def test_frozen_weights_stay_and_are_in_no_checkpoint(tmp_path):
    net = Net()
    net.body[0].requires_grad_(False)
    before = net.body[0].weight.clone()
    weights, _ = fit(tmp_path, net=net)
    assert torch.equal(weights["body.0.weight"], before)
    from safetensors.torch import load_file

    assert set(load_file(tmp_path / "checkpoint" / "weights.safetensors")) == {"body.3.weight", "body.3.bias"}
    assert not list(tmp_path.rglob("*.pt")) + list(tmp_path.rglob("*.bin"))


def test_rates_rise_linearly_and_fall_by_the_schedule():
    def rates(schedule, warmup):
        spec = SimpleNamespace(steps=10, warmup_steps=warmup, schedule=schedule)
        return [rate(step, spec) for step in range(10)]

    assert rates("constant", 0) == [1.0] * 10
    assert rates("linear", 0) == pytest.approx([1 - step / 10 for step in range(10)])
    assert rates("cosine", 2)[:3] == [0.5, 1.0, 1.0]
    falling = rates("cosine", 2)[2:]
    assert falling == sorted(falling, reverse=True) and 0 < falling[-1] < 0.05
    assert falling[4] == pytest.approx(0.5)
    assert rates("linear", 10) == pytest.approx([(step + 1) / 10 for step in range(10)])


def test_the_rate_is_used(tmp_path):
    still = fit(tmp_path / "a", net=Net(dropout=0), learning_rate=1e-12)[0]
    assert all(
        torch.allclose(still[name], weight, atol=1e-9) for name, weight in Net(dropout=0).state_dict().items()
    )
    moved = [
        fit(tmp_path / name, net=Net(dropout=0), schedule=name)[1][-1].validation_loss
        for name in ("constant", "cosine")
    ]
    assert moved[0] != moved[1]


def test_checkpoints_fall_on_evaluations():
    with pytest.raises(ValueError, match="multiple of evaluate_every"):
        TrainingSpec(steps=10, evaluate_every=4, checkpoint_every=6)
    assert Evaluation(1, 2.0, 3.0).validation_loss == 3.0

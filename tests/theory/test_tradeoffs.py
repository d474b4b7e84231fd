"""Covering against seeking: the tables hold what the fits reached; forward KL covers, reverse seeks."""

import pytest
import torch

from afd_study.theory import fits, tradeoffs
from afd_study.theory.divergences import alpha_divergence, divergence
from afd_study.theory.token_mdp import TokenMDP

GRID = torch.linspace(-6, 6, 61, dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def mixture():
    return fits.mixture(grid=GRID, means=[-2.0, 2.5], deviations=[0.6, 0.8], weights=[0.6, 0.4])


def test_fits_are_judged_against_the_true_law():
    demo = mixture()
    fitted = tradeoffs.fit_each(
        tradeoffs.ENDS, demo=demo, family=fits.gaussian(grid=GRID), generator=seeded()
    )
    table = tradeoffs.judged(fitted, demo=demo).set_index("divergence")
    assert table.loc["forward_kl", "coverage"] > table.loc["reverse_kl", "coverage"] + 0.3
    assert table.loc["reverse_kl", "precision"] > table.loc["forward_kl", "precision"] + 0.3
    for name, row in table.iterrows():
        assert row["value"] == pytest.approx(
            divergence(name, demo=demo, policy=fitted[name].law).item(), abs=1e-12
        )


def test_the_path_along_alpha_goes_from_covering_to_seeking():
    demo, alphas = mixture(), [2.0, 1.0, 0.0]
    family = fits.gaussian(grid=GRID)
    ends = tradeoffs.fit_each(tradeoffs.ENDS, demo=demo, family=family, generator=seeded())
    anchors = [fit.parameters for fit in ends.values()]
    path = tradeoffs.fit_along_alpha(alphas, demo=demo, family=family, generator=seeded(1), anchors=anchors)
    assert path[0.0].value == pytest.approx(ends["reverse_kl"].value, abs=1e-8)
    assert list(path) == alphas
    for alpha, fit in path.items():
        reached = divergence(alpha_divergence(alpha), demo=demo, policy=fit.law).item()
        assert fit.value == pytest.approx(reached, abs=1e-12)
    widths = [fits.mean_and_deviation(fit, grid=GRID)[1] for fit in path.values()]
    assert widths[0] > 2 and widths[1] > 2 > 1 > widths[2]


def test_seeking_gains_most_with_few_kinds():
    table = tradeoffs.by_kinds([1, 2, 8], grid=GRID, span=4.2, deviation=0.4, generator=seeded())
    precise = table.pivot(index="kinds", columns="divergence", values="precision")
    lead = precise["reverse_kl"] - precise["forward_kl"]
    assert abs(lead[1]) < 0.01 and lead[2] > 0.4 > 0.2 > lead[8]


def test_more_demonstrations_bring_the_fit_to_that_of_the_law():
    world = TokenMDP(3, 2)
    demo, family = fits.two_kinds(world=world), fits.unigram(world=world)
    options = {"demo": demo, "family": family, "pseudo": [1.0], "draws": 3}
    table = tradeoffs.by_data([3, 100_000], generator=seeded(), **options)
    assert len(table) == 2 * 3 * 2
    limit = fits.fit("forward_kl", demo=demo, family=family, generator=seeded())
    precision = fits.precision(demo=demo, policy=limit.law).item()
    rows = table[table["divergence"] == "forward_kl"].groupby("size")["precision"]
    assert (
        (rows.get_group(100_000) - precision).abs().max() < 0.02 < (rows.get_group(3) - precision).abs().max()
    )
    again = tradeoffs.by_data([3, 100_000], generator=seeded(), **options)
    assert again.equals(table)


def test_draws_find_what_the_law_holds():
    law = torch.tensor([0.5, 0.2, 0.3]).double()
    fit = fits.Fit(parameters=law, law=law, value=0.0, values=(0.0,))
    table = tradeoffs.by_draws(
        {"forward_kl": fit}, kinds=[[1, 0, 0], [0, 1, 0]], shares=[0.25, 0.75], draws=[1, 2]
    )
    assert table["any_kind"].tolist() == pytest.approx([0.7, 1 - 0.3**2], abs=1e-7)
    one = 0.25 * 0.5 + 0.75 * 0.2
    two = 0.25 * (1 - 0.5**2) + 0.75 * (1 - 0.8**2)
    assert table["wanted_kind"].tolist() == pytest.approx([one, two], abs=1e-7)

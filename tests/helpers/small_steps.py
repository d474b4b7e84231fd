"""Two small steps of a controlled world, for tests of the store: demonstrations, and the same with marks."""

from afd_study.study.steps import step

KNOBS = {
    "name": "harmless",
    "variant": None,
    "n_validation": 20,
    "n_test": 10,
    "stray": 0.02,
    "n_good_answers": 4,
    "max_words": 24,
    "demonstration_quality": 0.5,
    "absorbed_style": 0.1,
    "n_demonstrations": 30,
}


def drawn(seed=0, **changes):
    return step("demonstrations", {"world": {**KNOBS, **changes}, "seed": seed})


def marked(demonstrations, seed=0, heterogeneity=0.5):
    settings = {"world": {"name": "harmless", "variant": None, "heterogeneity": heterogeneity}, "seed": seed}
    return step("marked_demonstrations", settings, {"demonstrations": demonstrations})

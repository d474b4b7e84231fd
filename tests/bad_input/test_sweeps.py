"""Sweep files that can't be run, each beside a look-alike that has to pass."""

import os

import pytest
import sweep
import yaml

from afd_study.errors import SpecError

EXAMPLE = (sweep.SWEEPS / "example.yaml").read_text(encoding="utf-8")
WHOLE = yaml.safe_load(EXAMPLE)
GRID = {"world.heterogeneity": [0.0, 1.0]}


def sweep_text(*without, **changes):
    whole = {**WHOLE, **changes}
    return yaml.safe_dump({key: value for key, value in whole.items() if key not in without})


DIVERGENCES = {"notebooks": ["02_divergences"], "grid": {"policy": [[0.5, 0.5]]}}
FEW = ("tasks", "fixed")

# title: the file, what the error says, and one that looks like it and is right
CASES = {
    "empty": ("", "valid dictionary", EXAMPLE),
    "a list": ("[1, 2]", "valid dictionary", EXAMPLE),
    "an open list": ("notebooks: [04_experiment", "line 1: .*correct the YAML", EXAMPLE),
    "a tab": (EXAMPLE.replace("  world", "\tworld"), r"line \d+: found character '\\t'", EXAMPLE + "# \t\n"),
    "a tag": ("notebooks: !!python/name:os.system []", "could not determine a constructor", EXAMPLE),
    "a key twice": (
        EXAMPLE + "seeds: [7]\n",
        "the key 'seeds' stands here twice",
        EXAMPLE + "# seeds: [7]\n",
    ),
    "an octal seed": (
        EXAMPLE.replace("seeds: [0, 1]", "seeds: [010]"),
        "YAML would read '010' as a number",
        EXAMPLE.replace("seeds: [0, 1]", "seeds: [10]"),
    ),
    "parts of sixty": (
        EXAMPLE.replace("[0.0, 1.0]", "[1:30]"),
        "'1:30' as a number",
        EXAMPLE.replace("[0.0, 1.0]", "[0.5]"),
    ),
    "no number": (
        EXAMPLE.replace("[0.0, 1.0]", "[.nan]"),
        "'.nan' as a number",
        EXAMPLE.replace("[0.0, 1.0]", "[.5]"),
    ),
    "a truth": (
        EXAMPLE.replace("profile: smoke", "profile: on"),
        "'on' as a truth",
        EXAMPLE.replace("profile: smoke", "profile: 'smoke'"),
    ),
    "an unknown key": (sweep_text(seed=[0]), "unknown key of s.yaml 'seed': did you mean 'seeds'", EXAMPLE),
    "no notebook": (sweep_text("notebooks"), "notebooks: Field required", EXAMPLE),
    "an empty list of notebooks": (sweep_text(notebooks=[]), "at least 1 item", EXAMPLE),
    "an unknown notebook": (
        sweep_text(notebooks=["04_experimnt"]),
        "unknown notebook '04_experimnt': did you mean '04_experiment'",
        sweep_text(notebooks=["04_experiment"]),
    ),
    "a path for a notebook": (
        sweep_text(notebooks=["../notebooks/04_experiment"]),
        "unknown notebook",
        sweep_text(*FEW, **DIVERGENCES),
    ),
    "a word for a list": (sweep_text(tasks="harmless"), "tasks: .*tuple", sweep_text(tasks=["harmless"])),
    "a number for seeds": (sweep_text(seeds=3), "seeds: .*tuple", sweep_text(seeds=[3])),
    "half a seed": (sweep_text(seeds=[0.5]), r"seeds.0: .*integer", sweep_text(seeds=[5.0])),
    "a negative seed": (
        sweep_text(seeds=[-1]),
        r"seeds.0: .*greater than or equal to 0",
        sweep_text(seeds=[0]),
    ),
    "a seed twice": (sweep_text(seeds=[0, 1, 0]), "seed = '0' twice", sweep_text(seeds=[0, 1, 10])),
    "a value twice": (
        sweep_text(grid={"world.heterogeneity": [0, 0.0]}),
        "world.heterogeneity = '0' twice",
        sweep_text(grid={"world.heterogeneity": [0, 0.5]}),
    ),
    "an unknown task": (
        sweep_text(tasks=["harmles"]),
        "did you mean 'harmless'",
        sweep_text(tasks=["helpful"]),
    ),
    "an unknown profile": (
        sweep_text(fixed={**WHOLE["fixed"], "profile": "smok"}),
        "unknown profile 'smok'",
        sweep_text(fixed={**WHOLE["fixed"], "profile": "cpu"}),
    ),
    "an unknown setting": (
        sweep_text(grid={"world.heterogenity": [1]}),
        "did you mean 'world.heterogeneity'",
        sweep_text(grid={"sft.steps": [1]}),
    ),
    "a value out of range": (
        sweep_text(grid={"world.heterogeneity": [2]}),
        "less than or equal to 1",
        EXAMPLE,
    ),
    "no value": (sweep_text(grid={"world.heterogeneity": []}), "has no point", sweep_text(grid={})),
    "one value": (sweep_text(grid={"world.heterogeneity": 1}), "grid.world.heterogeneity: .*tuple", EXAMPLE),
    "a parameter that is none": (
        sweep_text(*FEW, **DIVERGENCES | {"grid": {"polcy": [1]}}),
        "unknown parameter of notebooks/02_divergences.ipynb 'polcy': did you mean 'policy'",
        sweep_text(*FEW, **DIVERGENCES),
    ),
    "tasks where there are none": (
        sweep_text("fixed", **DIVERGENCES),
        "unknown parameter of notebooks/02_divergences.ipynb 'task'",
        sweep_text(*FEW, **DIVERGENCES, seeds=[3]),
    ),
    "seeds in two places": (
        sweep_text(grid={**GRID, "seed": [5]}),
        "gives 'seed' in two places",
        sweep_text("seeds", grid={**GRID, "seed": [5]}),
    ),
    "a setting in two places": (
        sweep_text(fixed={**WHOLE["fixed"], "world.heterogeneity": 1.0}),
        "gives 'world.heterogeneity' in two places",
        sweep_text(fixed={**WHOLE["fixed"], "world.stray": 0.5}),
    ),
    "a fixed task beside tasks": (
        sweep_text(fixed={**WHOLE["fixed"], "task": "helpful"}),
        "gives 'task' in two places",
        sweep_text("tasks", fixed={**WHOLE["fixed"], "task": "helpful"}),
    ),
}


def load(folder, text):
    path = folder / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return sweep.load(path)


@pytest.mark.parametrize("title", CASES)
def test_a_bad_sweep_is_one_clear_error(tmp_path, title):
    text, says, _ = CASES[title]
    with pytest.raises(SpecError, match=says) as error:
        load(tmp_path, text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 900


@pytest.mark.parametrize("title", CASES)
def test_its_look_alike_passes(tmp_path, title):
    assert load(tmp_path, CASES[title][2])


PLACES = {
    "nothing": (lambda path: None, "cannot be read: No such file"),
    "a folder": (lambda path: path.mkdir(), "is no file"),
    "a pipe": (lambda path: os.mkfifo(path), "is no file"),
    "another encoding": (lambda path: path.write_bytes(b"# caf\xe9\n"), "is no UTF-8"),
    "UTF-16": (lambda path: path.write_text(EXAMPLE, encoding="utf-16"), "is no UTF-8"),
}


@pytest.mark.parametrize("title", PLACES)
def test_a_file_that_is_no_text_is_one_clear_error(tmp_path, title):
    make, says = PLACES[title]
    make(tmp_path / "s.yaml")
    with pytest.raises(SpecError, match=says):
        sweep.load(tmp_path / "s.yaml")


@pytest.mark.parametrize("title", PLACES)
def test_its_place_with_a_sweep_passes(tmp_path, title):
    path = tmp_path / "s.yaml"
    text = EXAMPLE if title != "another encoding" else f"# caf\u00e9\n{EXAMPLE}"
    path.write_text(text, encoding="utf-8-sig" if title == "UTF-16" else "utf-8")
    assert len(sweep.load(path)) == 8

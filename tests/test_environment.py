"""pyproject.toml, constraints.txt and environment.yml describe one environment."""

import re
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

MISSION = [
    *("torch", "transformers", "jupyter", "jupyter-book", "papermill", "seaborn", "scipy", "pytest", "nbval"),
]


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def lines(root):
    text = (root / "constraints.txt").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.fixture(scope="module")
def pins(lines):
    """Pinned versions by name, of the packages that every system installs and of the others."""
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in parsed}


@pytest.fixture(scope="module")
def wanted(project):
    """What each environment has."""
    return _named(project["dependencies"] + project["optional-dependencies"]["dev"])


@pytest.fixture(scope="module")
def pinned(project):
    """What some environment has: all extras."""
    return _named(project["dependencies"] + sum(project["optional-dependencies"].values(), []))


def _named(requirements):
    return {canonicalize_name(Requirement(text).name): Requirement(text) for text in requirements}


def test_every_line_pins_one_exact_release(lines):
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+( ; .+)?", line), line
    names = [canonicalize_name(Requirement(line).name) for line in lines]
    assert len(names) == len(set(names))


def test_pins_lie_within_the_ranges_of_pyproject(pinned, pins):
    for name, requirement in pinned.items():
        assert name in pins, f"{name} is wanted but not pinned: run `make constraints`"
        assert requirement.specifier.contains(pins[name], prereleases=True), (str(requirement), pins[name])


def test_the_packages_of_the_mission_are_direct_dependencies(wanted):
    assert set(MISSION) <= set(wanted)


def test_every_dependency_says_why_it_is_here(root):
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    entries = re.findall(r'^    "[A-Za-z][\w.-]*[<>=][^"]*",(.*)$', text, flags=re.MULTILINE)
    assert len(entries) > 25
    assert all(comment.strip().startswith("# ") for comment in entries)


def test_installed_packages_are_pinned_and_what_pins_depend_on_is_pinned_too(pinned, pins):
    """Follow the dependencies of everything installed, for each supported Python: each is pinned."""
    seen, queue = set(), list(pinned)
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        assert name in pins, f"{name} is depended on but not pinned"
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # asked for by another system or Python than this one
        queue += [canonicalize_name(item.name) for item in map(Requirement, requires) if _asked_for(item)]


def _asked_for(requirement):
    """Tell whether a requirement counts on Linux or macOS, on some supported Python, without extras."""
    if requirement.marker is None:
        return True
    systems = [("linux", "Linux", "x86_64"), ("darwin", "Darwin", "arm64")]
    if re.match(r"(cuda|nvidia|triton)", requirement.name):
        return False  # torch pins its own CUDA wheels
    return any(
        requirement.marker.evaluate(
            {
                **{"python_version": python, "python_full_version": f"{python}.1", "extra": ""},
                **{
                    "sys_platform": system,
                    "platform_system": name,
                    "platform_machine": machine,
                    "os_name": "posix",
                },
            }
        )
        for python in ("3.11", "3.12", "3.13")
        for system, name, machine in systems
    )


def test_this_environment_has_the_pinned_versions(wanted, pins):
    for name in wanted:
        found = metadata.version(name).split("+")[0]
        assert found == pins[name], (
            f"{name} is {found}, pinned {pins[name]}: remove .venv and run `make test`"
        )


def test_conda_installs_the_same(root, project):
    conda = yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))
    plain = [entry for entry in conda["dependencies"] if isinstance(entry, str)]
    python = next(entry.removeprefix("python") for entry in plain if entry.startswith("python"))
    assert SpecifierSet(python) == SpecifierSet(project["requires-python"])
    assert "pip" in plain
    (pip,) = [entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-c constraints.txt", "-e .[dev]"]


def test_nothing_names_a_path_or_a_registry(root):
    for name in ("pyproject.toml", "constraints.txt", "environment.yml"):
        assert not re.search(
            r"file:|https?:|index-url|find-links|@", (root / name).read_text(encoding="utf-8")
        )


def test_entry_points_lead_somewhere():
    (renderer,) = metadata.entry_points(group="myst_nb.mime_renderers", name="plotly")
    assert renderer.load().mime_priority_overrides
    assert [script.value for script in metadata.entry_points(group="console_scripts", name="afd")] == [
        "afd_study.study.__main__:main"
    ]

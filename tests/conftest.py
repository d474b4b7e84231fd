"""What all tests share: where the project lies, and the scripts of `book/`."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))  # gate, render, publish, stored


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with the reason, what is marked `gpu` where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device")


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def hh_rlhf(root: Path) -> Path:
    """Anthropic's HH-RLHF files as they lie beside the project; tests that read them are skipped without."""
    folder = root.parent / "shared" / "hh-rlhf"
    if not folder.is_dir():
        pytest.skip("there is no ../shared/hh-rlhf: put Anthropic's HH-RLHF files there to run this test")
    return folder


@pytest.fixture(scope="session")
def alpaca_eval(root: Path) -> Path:
    """AlpacaEval's results/ as they lie beside the project; tests that read them are skipped without."""
    folder = root.parent / "shared" / "alpaca-eval"
    if not folder.is_dir():
        pytest.skip("there is no ../shared/alpaca-eval: put AlpacaEval's results/ there to run this test")
    return folder

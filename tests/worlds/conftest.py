"""Tables of the world that a module of tests calls `full`."""

import pytest


@pytest.fixture(scope="module")
def prompts(full):
    return full.prompts(0)


@pytest.fixture(scope="module")
def demonstrations(full):
    return full.demonstrations(0)

"""What tests of frozen results share: a store with smoke studies, and a folder of results."""

import pytest

from afd_study.study.workflow.store import Store


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A store of smoke studies, which tests of chapters fill too."""
    return Store(tmp_path_factory.getbasetemp() / "smoke-studies")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch, store):
    """An empty folder of frozen results."""
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    monkeypatch.setenv("AFD_STORE", str(store.root))
    return tmp_path

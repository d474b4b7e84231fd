import subprocess
import sys

import numpy as np
import pytest

from afd_study.evaluation.text_features import LENGTH_BINS, LENGTHS, SURFACE, length_bins, tokens, words


def test_tokens_keep_words_apostrophes_and_marks():
    assert tokens("Don't go, you_two!") == ["don't", "go", ",", "you", "two", "!"]
    assert words("Don't go, you_two!") == ["don't", "go", "you", "two"]


def test_an_empty_text_has_every_feature():
    for feature in (*LENGTHS.values(), *SURFACE.values()):
        assert feature("") == 0


def test_bins_of_length_hold_equally_many_texts():
    sizes = np.bincount(length_bins(np.arange(10.0 * LENGTH_BINS)))
    assert len(sizes) == LENGTH_BINS and set(sizes) == {10}


@pytest.mark.parametrize("module", ["probes", "separability"])
def test_scikit_learn_is_imported_only_where_a_reader_is_made(module):
    """Pages from frozen tables import both modules, and fit no reader."""
    command = f"import sys, afd_study.evaluation.{module}; print('sklearn' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"

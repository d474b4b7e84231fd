"""What tests of figures share: tables with intervals over seeds."""

import pandas as pd
import pytest

OVER_SEEDS = {"interval": "t over seeds", "n_seeds": 3, "n_prompts": 144}


@pytest.fixture(scope="session")
def with_bounds():
    """Return a table of the given rows, with intervals of .1 either side of column mean."""

    def table(rows, **more):
        frame = pd.DataFrame(rows).assign(**OVER_SEEDS | more)
        return frame.assign(low=frame["mean"] - 0.1, high=frame["mean"] + 0.1)

    return table

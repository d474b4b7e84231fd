"""The step that measures what predicts when Init-SFT picks best; it needs no judge."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from afd_study.evaluation.text_features import LENGTHS
from afd_study.evaluation.when_diagnostics import diagnostics_row
from afd_study.methods.best_of_n import scores_of
from afd_study.methods.ensembles import replicate_name
from afd_study.methods.reward_pairs import RewardData
from afd_study.study.steps.encoding import ROW, CommonInputs, texts_of
from afd_study.study.steps.probes import AUC_DRAWS
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table


def when(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    task: str,
    data: Mapping[str, RewardData],
    called: Mapping[str, str],
    pool: Path,
    pool_init: Path,
    shown: Path,
    **scored: Path,
) -> None:
    """Measure evaluation.when.DIAGNOSTICS of this study at its seed: table `when`, one row.

    `data` are the pairs of each discriminator by the name that the law has for it, and `called` says which
    scorer is meant by that name, or by that of a second replicate. `scored` are their scores.
    """
    samples, initial = read_table(pool, "samples"), read_table(pool_init, "samples")
    texts = [samples, initial, texts_of(shown, "demonstrations")]
    lengths = pd.concat([table[[*ROW, "text"]] for table in texts], ignore_index=True)
    tables = [read_table(folder, "scores") for folder in scored.values()]
    scores = [scores_of(samples), *(table.assign(scorer=table["scorer"].map(called)) for table in tables)]
    again = {kind: replicate_name(kind, 1) for kind in data if replicate_name(kind, 1) in called.values()}
    end = common.policy_tokenizer.eos_token_id
    row = diagnostics_row(
        pd.concat(scores, ignore_index=True),
        lengths[ROW].assign(length=lengths["text"].map(LENGTHS["words"])),
        sources={kind: (pairs.high, pairs.low) for kind, pairs in data.items()},
        again=again,
        ended=[ids[-1] == end for ids in initial["token_ids"]],
        auc_draws=AUC_DRAWS,
    )
    write_table(out, "when", pd.DataFrame([{"task": task, "seed": common.seed, **row}]))

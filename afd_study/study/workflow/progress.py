"""The progress of a run: the share of the expected seconds that is done, and an estimate of what is left."""

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

from afd_study.study.workflow.step import Step
from afd_study.study.workflow.store import Store


class ProgressBar:
    """One line of progress: the share of the expected seconds that is done, and what runs now."""

    def __init__(self, todo: Mapping[str, Step], store: Store, quiet: bool, lines: bool) -> None:
        self.lines = lines and not quiet and not sys.stderr.isatty()
        self.started, self.count = time.perf_counter(), 0
        self.expected = {key: store.seconds(step.name) or step.weight for key, step in todo.items()}
        self.names = {key: step.name for key, step in todo.items()}
        self.running: dict[str, tuple[float, str]] = {}
        self.finished = 0.0
        layout = "{percentage:3.0f}% |{bar:20}| {elapsed} gone, about {remaining} left {postfix}"
        self.bar = tqdm(
            total=sum(self.expected.values()),
            bar_format=layout,
            dynamic_ncols=True,
            mininterval=0.5,
            smoothing=0.05,
            disable=True if quiet else None,  # None: shown on a terminal only
        )

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def report(self, key: str, share: float, note: str) -> None:
        """Show how far a step is (share of 1)."""
        self.running[key] = (min(share, 1.0), note)
        self._show()

    def done(self, step: Step) -> None:
        """Count a step as finished; say so in a line of its own where there is no terminal to draw on."""
        self.running.pop(step.key, None)
        self.finished += self.expected[step.key]
        self.count += 1
        self._show()
        if self.lines:
            gone = time.perf_counter() - self.started
            left = gone * max(0.0, self.bar.total - self.finished) / max(self.finished, 1e-9)
            counts = f"{self.count} of {len(self.names)} steps, {gone:.0f} s gone, about {left:.0f} s left"
            print(f"  {step.name} done ({counts})", file=sys.stderr, flush=True)

    def _show(self) -> None:
        under_way = sum(self.expected[key] * share for key, (share, _) in self.running.items())
        self.bar.n = min(self.finished + under_way, self.bar.total)
        notes = [f"{self.names[key]} ({note})" for key, (_, note) in sorted(self.running.items())]
        self.bar.set_postfix_str("; ".join(notes), refresh=False)
        self.bar.update(0)

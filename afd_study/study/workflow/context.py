"""What a step gets besides its settings: a workspace, a way to say how far it is, and its cost to fill in."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Context:
    """Handed to every step's function; `cost` ends up in the manifest.

    It holds tokens (through a model) and flops (`spend`), labels (preference pairs that a judge or people
    labelled) and demonstrations (those a world wrote); of draws and scores also how many responses and
    prompts they were for.
    """

    workspace: Path
    progress: Callable[[float, str], None] = lambda share, note: None
    cost: dict[str, float] = field(default_factory=dict)

    def steps(self, total: int) -> Callable[[int, str], None]:
        """Return what a training loop of `total` steps reports its progress to."""
        return lambda step, note: self.progress(step / total, f"step {step} of {total}, {note}")

    def spend(self, *, tokens: float, parameters: int, passes: int) -> None:
        """Add tokens through a model; a forward pass costs 2 FLOPs a parameter and token, a backward pass 4.

        `passes` is 1 for a forward pass alone and 3 for training (Kaplan et al. 2020, arXiv 2001.08361,
        section 2.1).
        """
        self.cost["tokens"] = self.cost.get("tokens", 0) + tokens
        self.cost["flops"] = self.cost.get("flops", 0) + 2.0 * passes * parameters * tokens


def derived_seed(seed: int, *names: object) -> int:
    """Return a seed for one use, unlike that of any other use of the same seed."""
    digest = hashlib.blake2b("/".join(map(str, (seed, *names))).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1

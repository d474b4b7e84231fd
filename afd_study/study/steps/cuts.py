"""How many texts are cut to the bounds of a study: counted as they are encoded, and said in one line."""

from dataclasses import dataclass, field

from afd_study.models.specs import SamplingSpec


@dataclass
class Cuts:
    """Counts of prompts and responses, and of those longer than the bounds of `sampling`.

    A prompt over `max_prompt_tokens` loses its beginning, a response over `max_new_tokens` its end.
    """

    sampling: SamplingSpec
    prompts: int = 0
    responses: int = 0
    cut_prompts: int = field(default=0, init=False)
    cut_responses: int = field(default=0, init=False)

    def prompt(self, tokens: int) -> None:
        """Count a prompt of so many tokens, its begin mark included."""
        bound = self.sampling.max_prompt_tokens
        self.prompts += 1
        self.cut_prompts += bound is not None and tokens > bound

    def response(self, tokens: int) -> None:
        """Count a response of so many tokens, its end mark included."""
        self.responses += 1
        self.cut_responses += tokens > self.sampling.max_new_tokens

    def line(self) -> str:
        """Return what was cut, in words; "" where nothing was.

        >>> cuts = Cuts(SamplingSpec(max_new_tokens=3))
        >>> cuts.prompt(9), cuts.response(2), cuts.response(4)
        (None, None, None)
        >>> cuts.line()
        '1 of 2 responses lost their end (max_new_tokens=3)'
        """
        said = []
        if self.cut_prompts:
            bound = f"max_prompt_tokens={self.sampling.max_prompt_tokens}"
            said.append(f"{self.cut_prompts} of {self.prompts} prompts lost their beginning ({bound})")
        if self.cut_responses:
            bound = f"max_new_tokens={self.sampling.max_new_tokens}"
            said.append(f"{self.cut_responses} of {self.responses} responses lost their end ({bound})")
        return ", ".join(said)

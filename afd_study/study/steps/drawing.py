"""Drawing: the one place where steps have a policy answer, and count what that takes."""

from collections.abc import Mapping, Sequence

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from afd_study.models.decoding import Drawn, Extrapolation, Request, sample
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import n_parameters
from afd_study.models.stop_strings import Stop
from afd_study.models.tokenizers import decode
from afd_study.study.steps.encoding import CommonInputs
from afd_study.study.workflow.context import Context


def requests_for(ids: Mapping[str, Sequence[int]], draws: Mapping[str, int]) -> list[Request]:
    """Return a request for each of `draws` responses to each prompt, prompts in the order of `draws`."""
    return [
        Request(prompt, tuple(ids[prompt]), draw) for prompt, count in draws.items() for draw in range(count)
    ]


def draw_responses(
    lm: PreTrainedModel,
    requests: Sequence[Request],
    common: CommonInputs,
    context: Context,
    *,
    seed: int,
    extrapolation: Extrapolation | None = None,
) -> list[Drawn]:
    """Draw a response to each request, in their order, as `common.sampling` says; count the cost."""
    tokenizer, sampling = common.policy_tokenizer, common.sampling
    stop = Stop(tokenizer, sampling.stop) if sampling.stop else None

    def draw(mine: Sequence[Request]) -> list[Drawn]:
        return sample(
            lm,
            mine,
            seed=seed,
            eos_id=tokenizer.eos_token_id,
            max_new_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            stop=stop,
            extrapolation=extrapolation,
            progress=lambda done: context.progress(done / len(mine), f"{done} of {len(mine)} responses"),
        )

    responses = map_across_ranks(requests, draw)
    models = 1 if extrapolation is None else 2
    count_draws(context, requests, responses, parameters=n_parameters(lm), models=models)
    return responses


def samples_table(
    requests: Sequence[Request],
    responses: Sequence[Drawn],
    *,
    source: str,
    tokenizer: PreTrainedTokenizerBase,
) -> pd.DataFrame:
    """Return responses, in the requests' order, with the columns of table `samples`."""
    ids = {"prompt_id": [each.prompt_id for each in requests], "draw": [each.draw for each in requests]}
    return pd.DataFrame(ids).assign(
        source=source,
        token_ids=pd.Series([list(each.ids) for each in responses], dtype=object),
        text=[text.strip() for text in decode(tokenizer, [each.ids for each in responses])],
        logprob=[each.logprob for each in responses],
    )


def count_draws(
    context: Context,
    requests: Sequence[Request],
    responses: Sequence[Drawn],
    *,
    parameters: int,
    models: int = 1,
) -> None:
    """Count what draws cost: each prompt is read once for all of its draws, by every one of `models`."""
    read = models * sum(map(len, {each.prompt_id: each.ids for each in requests}.values()))
    written = models * sum(len(each.ids) for each in responses)
    context.spend(tokens=read + written, parameters=parameters, passes=1)
    prompts = len({each.prompt_id for each in requests})
    context.cost.update(responses=len(responses), prompts=prompts, prompt_tokens=read)

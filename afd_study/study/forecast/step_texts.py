"""How many texts a step takes through a model, and of how many tokens: what its work is counted from."""

from afd_study.evaluation.counterfactual_edits import EDITS
from afd_study.study.forecast.sizes import Sizes
from afd_study.study.steps.probes import EDITED_DRAWS
from afd_study.study.workflow.step import Step


def responses_held(step: Step, sizes: Sizes) -> float:
    """Return how many texts a step holds: responses of a policy, or demonstrations to test prompts."""
    if step.name == "pair_logprobs":
        return responses_held(step.inputs["pairs"], sizes)
    if step.name == "held_out_pairs":  # both answers; of all splits where a judge is tried
        learned = sizes.texts.preferences * ("train" in step.settings["splits"])
        return 2 * (sizes.texts.held_out + learned + sizes.texts.pairs)
    step = step.inputs["samples"] if step.name == "model_demonstrations" else step
    if step.name != "samples":
        return sizes.texts.held_out
    if step.settings["purpose"] == "test":
        return float(step.settings["draws"] * sizes.texts.tested)
    return float(step.settings["draws"] * (sizes.texts.demonstrations + sizes.texts.validation))


def response_tokens(step: Step, sizes: Sizes) -> float:
    """Return the tokens of a response that a step holds, on average."""
    by_init = step.name == "samples" and step.inputs["policy"].name == "pi_init"
    return (sizes.sampled if by_init else sizes.written) - sizes.texts.prompt


def texts_read(step: Step, sizes: Sizes) -> tuple[float, float]:
    """Return how many texts a step that scores takes through its model, and the tokens of their responses."""
    if step.name == "text_states":
        texts = step.inputs["texts"]
        n = _read_once(texts, sizes)
        return n, n * response_tokens(texts, sizes)
    if "edits" in step.inputs or step.name == "densities":  # samples know theirs from when they were drawn
        n = EDITED_DRAWS * (1 + len(EDITS)) * sizes.texts.tested
        n = n if "edits" in step.inputs else sizes.texts.held_out
        return n, n * sizes.answer
    aside = ("reward_model", "tokenizers", "prompts", "policy")
    held = [(responses_held(each, sizes), each) for name, each in step.inputs.items() if name not in aside]
    return sum(n for n, _ in held), sum(n * response_tokens(each, sizes) for n, each in held)


def _read_once(texts: Step, sizes: Sizes) -> float:
    """Return how many texts a frozen body reads of a step."""
    if texts.name == "edits":
        return EDITED_DRAWS * (1 + len(EDITS)) * sizes.texts.tested
    if texts.name in ("corpus", "system_corpus", "short_prompts"):  # pairs, the judge's and the others'
        return 2 * (sizes.texts.preferences + sizes.texts.judge + sizes.texts.pairs)
    if "preferences" in texts.name:
        return 2 * sizes.texts.preferences
    if texts.name == "model_demonstrations":
        return responses_held(texts, sizes)
    names = [texts.name, str(texts.settings.get("kind")), *(each.name for each in texts.inputs.values())]
    if texts.name == "samples" or any("held_out" in name for name in names):
        return responses_held(texts, sizes)
    return sizes.texts.demonstrations + sizes.texts.validation


def items_learned(step: Step, sizes: Sizes) -> tuple[float, float, float]:
    """Return how many items a training learns from, how many it is evaluated on, and an item's tokens."""
    texts = sizes.texts
    if step.name == "pi_init":
        return texts.pretraining, min(1000.0, texts.validation), sizes.written
    if step.name in ("pi_sft", "demonstrator"):
        return texts.demonstrations, texts.validation, sizes.written
    if step.name == "fitted_judge":
        return texts.judge, texts.judge * texts.validation / max(1.0, texts.demonstrations), 2 * sizes.written
    data = step.settings.get("data")  # of a reward model, its recipe's times included
    if data is None:
        return texts.demonstrations, texts.validation, 2 * sizes.sampled
    if data.high == "preferred":
        n = sizes.spec.reward.n_preferences or texts.preferences
        return n, texts.validation, 2 * sizes.written
    sides = [sizes.written if side == "demonstrations" else sizes.sampled for side in (data.high, data.low)]
    return texts.demonstrations * data.times, texts.validation * data.times, sum(sides)

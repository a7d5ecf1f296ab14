"""What a person should know of how their prompts are read, a line each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from confiner_cli.config.job import Job
from confiner_cli.config.vocabulary import read_vocabulary
from confiner_cli.experts.expert import Expert
from confiner_cli.experts.prompt_weighting import has_syntax, not_supported, plain_text


def prompt_advice(job: Job, experts: Mapping[str, Expert]) -> Iterator[str]:
    """Remarks about the prompts of a job: words and syntax without effect, ends that are not read.

    Args:
        job: what is to be made.
        experts: by role, those that are asked.
    """
    yield from _unlearnt_words(job, experts)
    yield from _truncated_texts(job, experts)
    yield from _syntax(job, experts)
    yield from _embeddings(job, experts)


def _texts(job: Job) -> dict[str, str]:
    """All prompts by what they are called."""
    texts = {"prompt": job.prompt}
    texts |= {f"prompt at {frame}": text for frame, text in job.prompts.items() if frame}
    return {**texts, "negative prompt": job.negative_prompt}


def _unlearnt_words(job: Job, experts: Mapping[str, Expert]) -> Iterator[str]:
    place = job.settings.experts.knows
    if place is None:
        return
    vocabulary, given = read_vocabulary(place), _tokens(experts)
    for text in dict.fromkeys(job.prompts.values()):
        words = plain_text(text) if job.settings.prompt_weighting else text
        for token in given:
            words = re.sub(re.escape(token), " ", words, flags=re.IGNORECASE)
        if words.strip() or not given:
            yield from vocabulary.advice(job.settings.experts.name, words)


def _tokens(experts: Mapping[str, Expert]) -> list[str]:
    """The words that experts were given, each once."""
    tokens = [each.token for expert in experts.values() for each in expert.text.embeddings]
    return list(dict.fromkeys(tokens))


def _truncated_texts(job: Job, experts: Mapping[str, Expert]) -> Iterator[str]:
    cure = " (with prompt_weighting=true it reads all)" if _take_weights(experts) else ""
    for name, text in _texts(job).items():
        ends = {expert.text.truncated(text) for expert in experts.values()}
        for end in sorted(ends - {""}):
            yield f"the text encoder does not read the end of the {name}: {end!r}{cure}"


def _take_weights(experts: Mapping[str, Expert]) -> bool:
    """Whether `prompt_weighting=true` is for all of them: else it is refused."""
    return all(expert.text.takes_weights for expert in experts.values())


def _syntax(job: Job, experts: Mapping[str, Expert]) -> Iterator[str]:
    meaning = ": prompt_weighting=true gives them the meaning that they have in A1111"
    cure = meaning if _take_weights(experts) else ""
    for name, text in _texts(job).items():
        if job.settings.prompt_weighting:
            for syntax, instead in not_supported(text):
                yield f"{syntax} in the {name} is read as words: {instead}"
        elif has_syntax(text):
            yield f"weights and BREAK in the {name} are read as words{cure}"


def _embeddings(job: Job, experts: Mapping[str, Expert]) -> Iterator[str]:
    texts = list(_texts(job).values())
    used: set[str] = set()
    for role, expert in experts.items():
        for embedding in expert.text.embeddings:
            if embedding.remark:
                yield embedding.remark
            if any(expert.text.uses(embedding, text) for text in texts):
                used.add(embedding.token)
            else:
                yield (
                    f"the {role} expert's embedding {embedding.token} has no effect: no prompt has "
                    "it, or too far behind"
                )
    for token in sorted(used):
        without = [role for role, expert in experts.items() if token not in _tokens({role: expert})]
        if without:
            yield f"{token} is read by its letters by the {' and the '.join(without)} expert"

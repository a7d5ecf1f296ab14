"""What small experts have learnt: all of their words, where there are few enough to be listed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from confiner_cli.errors import ConfinerError
from confiner_cli.weights.model_ref import model_ref

SHOWN = 5


@dataclass(frozen=True)
class Knowledge:
    """The words in lower case, one sentence that sums them up, and prompts to try."""

    words: frozenset[str]
    summary: str
    examples: tuple[str, ...]

    def notices(self, experts: str, prompt: str) -> Iterator[str]:
        """A line about the words of a prompt that the experts of this name have never learnt, if there are any."""
        words = dict.fromkeys(re.findall(r"[^\W_]+", prompt.lower())) or [prompt]
        if unknown := [word for word in words if word not in self.words]:
            shown, tries = (
                ", ".join(unknown[:SHOWN]),
                ", ".join(f'"{example}"' for example in self.examples),
            )
            yield f"the {experts} experts have never learnt {shown}: {self.summary}; try {tries}"


def read_knowledge(path: str) -> Knowledge:
    """Read a JSON file, named as models are.

    Raises:
        ConfinerError: there is no such file, or it says something else.
    """
    try:
        facts = json.loads((model_ref(path).path or Path(path)).read_text(encoding="utf-8"))
        return Knowledge(frozenset(facts["words"]), str(facts["summary"]), tuple(facts["examples"]))
    except OSError as error:
        raise ConfinerError(
            f"experts.knows={path} cannot be read: {error.strerror}", "experts.knows=null"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfinerError(
            f"experts.knows={path} lists no words",
            "a JSON object with words, summary and examples, or null",
        ) from error

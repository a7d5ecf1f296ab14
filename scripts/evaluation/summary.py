"""Results as tables in Markdown, every number with its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from evaluation.measures import COMPARED, MAIN, REST, SEEN, Measure
from evaluation.sample import Bootstrap, Sample, Samples
from evaluation.sections import Section
from evaluation.statistics import LEVEL, REPLICATES

LEGEND = f"""\
A number is that of all clips, with its {LEVEL:.0%} interval in brackets: {REPLICATES} times as many
prompts were drawn from the prompts, with all of their clips. For the interval of a share, one more
prompt is right and one wrong: what is right in all prompts is not certain yet. A difference is that
of a row to the named one on the same draws; **bold** where its interval excludes zero, and only
then are two rows called different. One in twenty is bold by chance where there is no difference.

Flicker: mean change of still background between frames, in levels of 0-255. Feature distance:
Frechet, of the judge's features to those of other renders of the same attributes (it depends on the
number of clips). Contrast and sharpness: over a render of what the clip shows. Motion, shape,
colour, background: share of clips, or of single frames, that the judge finds right; all four: of
clips in which all are. Jitter: of the object around its path, percent of the side. Subject
consistency: cosine similarity of the judge's features between frames. Colour shift: of the object's
mean hue, degrees. Amplitude: of the motion, 1 as rendered, 0 for what stands still. Evaluations and
passes: a clip's, of control, spatial and temporal expert (a guided evaluation is two passes).
Operations: counted, of these passes; text encoder and VAE, the same for all rows, are left out.
Seconds: median over prompts.
"""


Fact = tuple[str, Callable[[Sample], str]]
"""A column's header, and what it says of a row; it is the same for all clips."""
COSTS: tuple[Fact, ...] = (
    ("clips", lambda sample: str(sample.clips)),
    ("evaluations", lambda sample: sample.by_role("evaluations")),
    ("passes", lambda sample: sample.by_role("passes")),
    ("operations, G", lambda sample: f"{sample.operations / 1e9:.1f}"),
)


def summary(samples: Samples, sections: Sequence[Section]) -> str:
    """Each section's numbers and comparisons of the rows there are; what was seen; the rest."""
    parts = [part for section in sections for part in _told(section, samples)]
    parts += ["## What is seen", _numbers(samples.rows, SEEN, samples.bootstrap)]
    parts += ["## The rest", _numbers(samples.rows, REST, samples.bootstrap)]
    if samples.unfinished:
        clips = ", ".join(f"{row} ({clips} clips)" for row, clips in samples.unfinished.items())
        parts.append(f"Not finished: {clips}")
    return "\n".join(f"{part}\n" for part in parts)


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _told(section: Section, samples: Samples) -> Iterator[str]:
    present = {row: samples.rows[row] for row in section.rows if row in samples.rows}
    if not present:
        return
    yield f"## {section.title}"
    yield _numbers(present, MAIN, samples.bootstrap, COSTS)
    if section.reference in present and len(present) > 1:
        yield f"Differences to `{section.reference}`, and operations as a share of its own:"
        yield _differences(present, section.reference, samples.bootstrap)


def _numbers(
    samples: Mapping[str, Sample],
    measures: Sequence[Measure],
    bootstrap: Bootstrap,
    facts: Sequence[Fact] = (),
) -> str:
    header = ("row", *(title for title, _ in facts), *(measure.title for measure in measures))
    lines = []
    for row, sample in samples.items():
        told = [said(sample) for _, said in facts]
        told += [each.of(sample, bootstrap).text(each.digits) for each in measures]
        lines.append([row, *told])
    return table(header, lines)


def _differences(samples: Mapping[str, Sample], reference: str, bootstrap: Bootstrap) -> str:
    other = samples[reference]
    lines = []
    for row, sample in samples.items():
        if row != reference:
            share = f"{sample.operations / other.operations:.2f}"
            found = [
                each.difference(sample, other, bootstrap).marked(each.digits) for each in COMPARED
            ]
            lines.append([row, share, *found])
    return table(("row", "operations", *(measure.title for measure in COMPARED)), lines)

"""Report what a vocabulary file turns into: canonical prompts, hypernyms, neighbours and token counts."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from dataclasses import dataclass
from itertools import islice, repeat
from typing import TYPE_CHECKING

from activesam_ros.settings import SegmenterSettings
from activesam_ros.vocabulary.canonical import AS_WRITTEN, canonical_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from activesam_ros.prompts.text_encoder import TokenTable
    from activesam_ros.vocabulary.files import VocabularyFile
    from activesam_ros.vocabulary.palette import Colour

WIDTH = 100
"""Columns of the text form."""

_GAP = "  "
# Longer words than this may be broken to keep the table within its width.
_LONGEST_WORD = 24
# Cells wrap at spaces, but not within an item of a list.
_GLUE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class NeighborReport:
    """Another canonical prompt, the class that it belongs to, and their cosine similarity."""

    prompt: str
    class_name: str
    similarity: float


@dataclass(frozen=True)
class PromptReport:
    """One prompt as the user wrote it and in its canonical form, with what gives it context.

    Without a model `tokens` and `neighbors` are None.
    """

    prompt: str
    canonical: str
    hypernyms: tuple[str, ...]
    tokens: int | None = None
    neighbors: tuple[NeighborReport, ...] | None = None


@dataclass(frozen=True)
class ClassReport:
    """One class; `colour` is red, green, blue, and `members` are the classes that a group unites."""

    class_id: int
    name: str
    colour: Colour
    members: tuple[str, ...]
    prompts: tuple[PromptReport, ...]


@dataclass(frozen=True)
class VocabularyReport:
    """A vocabulary file with all that follows from its prompts.

    Attributes:
        source, description, origin, background, background_threshold: as in `VocabularyFile`.
        model: whose tokenizer and embeddings gave tokens and neighbours; None: none.
        context_length: most tokens of a prompt that the model reads; None without a model.
        classes: in order.
    """

    source: str
    description: str
    origin: str
    background: str | None
    background_threshold: float | None
    model: str | None
    context_length: int | None
    classes: tuple[ClassReport, ...]

    @property
    def too_long(self) -> tuple[str, ...]:
        """Prompts that the model cannot read to their end."""
        return tuple(
            prompt.prompt
            for entry in self.classes
            for prompt in entry.prompts
            if _too_long(prompt.tokens, self.context_length)
        )


def _too_long(tokens: int | None, context_length: int | None) -> bool:
    return tokens is not None and context_length is not None and tokens > context_length


def report_of(
    file: VocabularyFile,
    hypernyms: Callable[[str], tuple[str, ...]],
    model: TokenTable | None = None,
    model_name: str | None = None,
    settings: SegmenterSettings | None = None,
) -> VocabularyReport:
    """Report on `file`.

    Args:
        file: the vocabulary.
        hypernyms: canonical prompt → hypernyms.
        model: gives token counts and neighbours; None: those are left out.
        model_name: how the report calls the model.
        settings: how many hypernyms and neighbours a prompt gets; None: the defaults.

    Raises:
        VocabularyError: the file has too many classes or prompts.
    """
    settings = settings or SegmenterSettings()
    vocabulary = file.vocabulary()
    canonical = [canonical_name(prompt) for prompt in vocabulary.prompts]
    owners = [vocabulary.names[index] for index in vocabulary.prompt_classes]
    most = settings.hypernym_tokens
    broader = [tuple(canonical_name(name) for name in hypernyms(prompt)[:most]) for prompt in canonical]
    tokens: Iterable[int | None] = repeat(None)
    neighbors: Iterable[tuple[NeighborReport, ...] | None] = repeat(None)
    if model:
        tokens = model.counts(canonical)
        neighbors = _neighbors(model, canonical, owners, settings.neighbor_tokens)
    prompts = map(PromptReport, vocabulary.prompts, canonical, broader, tokens, neighbors)
    classes = tuple(
        ClassReport(
            entry.class_id,
            entry.name,
            entry.colour,
            entry.members,
            tuple(islice(prompts, len(entry.prompts))),
        )
        for entry in vocabulary.classes
    )
    return VocabularyReport(
        source=file.source,
        description=file.description,
        origin=file.origin,
        background=file.background,
        background_threshold=file.background_threshold,
        model=model_name if model else None,
        context_length=model.context_length if model else None,
        classes=classes,
    )


def _neighbors(
    model: TokenTable, canonical: Sequence[str], owners: Sequence[str], count: int
) -> list[tuple[NeighborReport, ...]]:
    # torch takes a second to import, which a report without a model does not need.
    from activesam_ros.prompts.prompt_set import find_neighbors

    found = find_neighbors(model.pooled(canonical), count)
    return [
        tuple(
            NeighborReport(canonical[index], owners[index], round(similarity, 4) + 0.0)
            for index, similarity, valid in zip(*columns, strict=True)
            if valid
        )
        for columns in zip(found.index.tolist(), found.similarity.tolist(), found.valid.tolist(), strict=True)
    ]


def to_json(report: VocabularyReport) -> str:
    """Render the report as JSON; the keys are the attributes of the classes above."""
    return json.dumps(dataclasses.asdict(report), indent=2, ensure_ascii=False)


def to_text(report: VocabularyReport) -> str:
    """Render the report as aligned text of at most `WIDTH` columns."""
    count = sum(len(entry.prompts) for entry in report.classes)
    threshold = "not named" if report.background_threshold is None else f"{report.background_threshold:g}"
    lines = [f"{report.source}: {len(report.classes)} classes, {count} prompts"]
    lines += textwrap.wrap(report.description, WIDTH) + textwrap.wrap(report.origin, WIDTH)
    lines += [f"background: {report.background or 'none'}; background threshold: {threshold}"]
    if report.model:
        lines += [f"model: {report.model}, which reads at most {report.context_length} tokens of a prompt"]
    lines += ["", *align(_header(report), _rows(report)), ""]
    for entry in report.classes:
        if entry.members:
            united = f"{entry.name} unites {', '.join(entry.members)}"
            lines += textwrap.wrap(united, WIDTH, subsequent_indent="  ")
    if report.too_long:
        prompts = ", ".join(map(repr, report.too_long))
        lines += textwrap.wrap(
            f"too long for the model, so shorten: {prompts}", WIDTH, subsequent_indent="  "
        )
    return "\n".join(lines).rstrip() + "\n"


def _header(report: VocabularyReport) -> list[str]:
    header = ["id", "colour", "class", "asks for", "hypernyms"]
    return [*header, "tokens", "most similar prompts"] if report.model else header


def _rows(report: VocabularyReport) -> list[list[str]]:
    rows = []
    for entry in report.classes:
        head = [str(entry.class_id), "#{:02x}{:02x}{:02x}".format(*entry.colour), entry.name]
        for prompt in entry.prompts:
            row = [*head, prompt.canonical + _origin(prompt), _items(prompt.hypernyms)]
            if report.model:
                long = _too_long(prompt.tokens, report.context_length)
                row.append(f"{prompt.tokens} > {report.context_length}" if long else str(prompt.tokens))
                row.append(
                    _items([f"{near.prompt} {near.similarity:.2f}" for near in prompt.neighbors or ()])
                )
            rows.append(row)
            head = ["", "", ""]
    return rows


def _origin(prompt: PromptReport) -> str:
    if prompt.prompt.startswith(AS_WRITTEN):
        return " (as written)"
    return "" if prompt.canonical == prompt.prompt else f" (for {prompt.prompt})"


def _items(items: Sequence[str]) -> str:
    return ", ".join(item.replace(" ", _GLUE) for item in items) or "-"


def align(header: Sequence[str], rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """Lay out a table: numbers right-aligned, cells wrapped where the table would be wider than `width`."""
    table = [header, *rows]
    columns = [[row[column] for row in table] for column in range(len(header))]
    widths = [max(map(len, cells)) for cells in columns]
    narrowest = [
        min(_LONGEST_WORD, max(len(word) for cell in cells for word in cell.split(" "))) for cells in columns
    ]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        spare = [size - least for size, least in zip(widths, narrowest, strict=True)]
        if max(spare) <= 0:
            break
        widest = max(range(len(widths)), key=lambda column: (spare[column] > 0, widths[column]))
        widths[widest] -= 1
    right = [all(cell.strip("0123456789.-") == "" for cell in cells[1:]) for cells in columns]
    lines = []
    for row in table:
        cells = [textwrap.wrap(cell, size) or [""] for cell, size in zip(row, widths, strict=True)]
        for depth in range(max(map(len, cells))):
            parts = [cell[depth] if depth < len(cell) else "" for cell in cells]
            parts = [
                part.rjust(size) if number else part.ljust(size)
                for part, size, number in zip(parts, widths, right, strict=True)
            ]
            lines.append(_GAP.join(parts).replace(_GLUE, " ").rstrip())
    return lines

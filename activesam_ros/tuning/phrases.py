"""Phrases that a class may ask for instead of its own: a user's, their singular or plural, WordNet's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from activesam_ros.errors import VocabularyError
from activesam_ros.prompts.hypernyms import WORDNET_ROOT, open_wordnet
from activesam_ros.vocabulary.canonical import canonical_name, match_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from activesam_ros.vocabulary import Vocabulary

_MOST_HYPONYMS = 8


@dataclass(frozen=True)
class Phrases:
    """All phrases to try.

    Attributes:
        texts: each once, by what the model is asked for.
        own: for each class of the vocabulary the indices of its prompts.
        candidates: for each class the indices of the phrases to try, its own among them.
    """

    texts: tuple[str, ...]
    own: tuple[tuple[int, ...], ...]
    candidates: tuple[tuple[int, ...], ...]


def read_phrases(path: Path) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Read phrases to try, from YAML: a list for all classes, or lists by class, where `"*"` is for all.

    Returns:
        phrases by the match key of the class, and those for all classes.

    Raises:
        VocabularyError: the file is neither.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise VocabularyError(f"{path} is not YAML; expected a list of phrases, or lists by class") from error
    if isinstance(content, list):
        content = {"*": content}
    if not isinstance(content, dict) or not all(_is_texts(found) for found in content.values()):
        raise VocabularyError(
            f"{path} holds no phrases; expected a list of phrases, or a list for each class: `car: [automobile]`"
        )
    # As everywhere, commas part phrases.
    lists = {
        str(name): tuple(part.strip() for one in found for part in one.split(",") if part.strip())
        for name, found in content.items()
    }
    shared = lists.pop("*", ())
    return {match_key(name): found for name, found in lists.items()}, shared


def _is_texts(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(one, str) and one.strip() for one in found)


def gather_phrases(
    vocabulary: Vocabulary,
    by_class: Mapping[str, Sequence[str]],
    shared: Sequence[str] = (),
    wordnet: bool = True,
) -> Phrases:
    """Gather the phrases to try for each class.

    Args:
        vocabulary: its prompts are tried in the singular and in the plural.
        by_class: further phrases, by the match key of a class's name.
        shared: phrases to try for every class.
        wordnet: add WordNet's synonyms and hyponyms of the prompts, where it is installed (Debian's `wordnet-base`).

    Raises:
        VocabularyError: phrases are for a class that the vocabulary does not have.
    """
    names = {match_key(name): name for name in vocabulary.names}
    if unknown := [key for key in by_class if key not in names]:
        raise VocabularyError(
            f"there are phrases for {unknown[0]!r}, which is no class of the vocabulary; its classes begin with "
            f"{', '.join(vocabulary.names[:5])}"
        )
    related = _wordnet() if wordnet else None
    index: dict[str, int] = {}
    texts: list[str] = []

    def known(phrases: Iterable[str]) -> tuple[int, ...]:
        found = []
        for phrase in phrases:
            key = match_key(canonical_name(phrase))
            if key and key not in index:
                index[key] = len(texts)
                texts.append(" ".join(phrase.split()))
            if key:
                found.append(index[key])
        return tuple(dict.fromkeys(found))

    own = tuple(known(one.prompts) for one in vocabulary.classes)
    candidates = []
    for one, prompts in zip(vocabulary.classes, own, strict=True):
        more = [form for prompt in one.prompts for form in _number_forms(prompt)]
        more += by_class.get(match_key(one.name), ())
        more += [phrase for prompt in one.prompts for phrase in (related(prompt) if related else ())]
        candidates.append(tuple(dict.fromkeys((*prompts, *known((*more, *shared))))))
    return Phrases(tuple(texts), own, tuple(candidates))


def _number_forms(phrase: str) -> tuple[str, ...]:
    """Return the plural of a phrase in the singular, and the other way round, by the common endings."""
    if phrase.endswith("ies") and len(phrase) > 4:
        return (phrase[:-3] + "y",)
    if phrase.endswith(("ses", "xes", "ches", "shes")):
        return (phrase[:-2],)
    if phrase.endswith("s") and not phrase.endswith(("ss", "us")):
        return (phrase[:-1],)
    if phrase.endswith(("s", "x", "ch", "sh")):
        return (phrase + "es",)
    if phrase.endswith("y") and phrase[-2:-1] not in tuple("aeiou"):
        return (phrase[:-1] + "ies",)
    return (phrase + "s",)


def _wordnet() -> Any:
    """Return a lookup phrase → synonyms and hyponyms of its first sense; None where WordNet is not installed."""
    if not (WORDNET_ROOT / "data.noun").is_file():
        return None
    reader = open_wordnet(WORDNET_ROOT)

    def related(phrase: str) -> tuple[str, ...]:
        senses = reader.synsets(canonical_name(phrase).lower().replace(" ", "_"), pos="n")[:1]
        kinds = [kind for sense in senses for kind in sorted(sense.hyponyms(), key=lambda kind: kind.name())]
        lemmas = [name for sense in [*senses, *kinds[:_MOST_HYPONYMS]] for name in sense.lemma_names()]
        return tuple(name.replace("_", " ") for name in lemmas)

    return related

"""Hypernyms of canonical prompts, from WordNet where it is installed, else from a small table.

A hypernym is the kind that a thing belongs to ("car" → "motor vehicle"). Both sources give the immediate
hypernyms of the first noun sense, each by its first lemma, in alphabetical order.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

WORDNET_ROOT = Path("/usr/share/wordnet")
"""Where Debian's and Ubuntu's package `wordnet-base` puts the database."""

MAX_HYPERNYMS = 2


def default_hypernyms(root: Path = WORDNET_ROOT) -> Callable[[str], tuple[str, ...]]:
    """Open a lookup canonical prompt → at most two hypernyms: WordNet at `root`, else the shipped table."""
    if (root / "data.noun").is_file():
        try:
            lookup = WordNetHypernyms(root)
            if lookup("car") != ("motor vehicle",):
                raise ValueError("it does not know what a car is")
        except Exception as error:  # nltk raises many types for a damaged database
            logger.warning("WordNet at %s cannot be read (%s); using the shipped table", root, error)
        else:
            logger.info("hypernyms come from WordNet at %s", root)
            return lookup
    else:
        logger.info("hypernyms come from the shipped table; install wordnet-base for all of WordNet")
    return TableHypernyms.shipped()


class TableHypernyms:
    """Look hypernyms up in a table: canonical prompt (in any case) → hypernyms."""

    def __init__(self, table: Mapping[str, list[str] | tuple[str, ...]]) -> None:
        self._table = {name.lower(): tuple(found) for name, found in table.items()}

    @classmethod
    def shipped(cls) -> TableHypernyms:
        """Load the table in `hypernyms.json`, which covers the shipped vocabularies."""
        source = resources.files("activesam_ros.prompts").joinpath("hypernyms.json")
        return cls(json.loads(source.read_text(encoding="utf-8"))["hypernyms"])

    def __call__(self, name: str) -> tuple[str, ...]:
        """Return at most two hypernyms of a canonical prompt."""
        return self._table.get(name.lower(), ())[:MAX_HYPERNYMS]


class WordNetHypernyms:
    """Look hypernyms up in a WordNet database through nltk's reader."""

    def __init__(self, root: Path) -> None:
        """Open the database; raise ImportError without nltk, OSError or ValueError for an unreadable one."""
        self._reader = open_wordnet(root)

    def __call__(self, name: str) -> tuple[str, ...]:
        """Return at most two hypernyms of a canonical prompt."""
        senses = self._reader.synsets(name.lower().replace(" ", "_"), pos="n")
        if not senses:
            return ()
        # Sorted, since nltk keeps them in a set, whose order differs from one process to the next.
        kinds = sorted(senses[0].hypernyms(), key=lambda kind: kind.name())
        return tuple(kind.lemma_names()[0].replace("_", " ") for kind in kinds[:MAX_HYPERNYMS])


def open_wordnet(root: Path) -> Any:
    """Open a WordNet database by nltk; raise ImportError without nltk, OSError or ValueError for an unreadable one."""
    # nltk is imported here since the table needs none of it.
    import nltk.data
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    # nltk reads only below its registered folders, and registering is its documented way to allow another.
    if str(root) not in nltk.data.path:
        nltk.data.path.append(str(root))

    class Reader(WordNetCorpusReader):
        """nltk's reader without what Debian's package leaves out and hypernyms do not need."""

        def open(self, file: str) -> Any:
            if file == "lexnames" and not (root / file).is_file():
                return io.StringIO("".join(f"{index:02d}\tgroup{index}\t0\n" for index in range(45)))
            return super().open(file)

        def map_wn(self, version: str = "wordnet") -> None:
            """No map to the sense numbers of another release, which only translations use."""

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The multilingual functions are not available")
        return Reader(str(root), None)

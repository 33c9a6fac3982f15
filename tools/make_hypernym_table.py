#!/usr/bin/env python3
"""Writes activesam_ros/prompts/hypernyms.json from an installed WordNet (Debian's package wordnet-base).

It covers the classes of Toy Town, the prompts of every preset and the phrases of the canonical names; further words can
be given as arguments.
"""

import json
import sys
from pathlib import Path

from activesam_ros import toytown
from activesam_ros.prompts.hypernyms import WORDNET_ROOT, WordNetHypernyms
from activesam_ros.vocabulary.canonical import canonical_name
from activesam_ros.vocabulary.files import load_vocabulary_file, preset_names

TABLE = Path(__file__).parent.parent / "activesam_ros" / "prompts" / "hypernyms.json"
CANONICAL = TABLE.parent.parent / "vocabulary" / "canonical_names.json"


def main() -> None:
    """Write the table."""
    names = {word for group in toytown.SYNONYMS.values() for word in group}
    names |= {*toytown.SUPERCLASSES, *toytown.FOREIGN, *toytown.UNSEEN_FOREIGN, *toytown.DEMO_CLASSES}
    for preset in preset_names():
        names |= set(load_vocabulary_file(preset).vocabulary().prompts)
    groups = json.loads(CANONICAL.read_text(encoding="utf-8"))
    names |= {
        *groups["split"],
        *groups["spelled"].values(),
        *groups["inverted"].values(),
        *groups["plain"].values(),
    }
    names |= set(sys.argv[1:])
    lookup = WordNetHypernyms(WORDNET_ROOT)
    canonical = sorted({canonical_name(name).lower() for name in names})
    found = {name: list(lookup(name)) for name in canonical}
    content = {
        "about": "Hypernyms of the first noun sense in WordNet 3.0 (Princeton University), for machines without "
        "WordNet; a name that is missing has none.",
        "hypernyms": {name: kinds for name, kinds in found.items() if kinds},
    }
    TABLE.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(content['hypernyms'])} of {len(canonical)} names have hypernyms; wrote {TABLE}")


if __name__ == "__main__":
    main()

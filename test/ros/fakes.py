"""Stand-ins for tests in which the model itself is irrelevant."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.settings import SegmenterSettings
from activesam_ros.vocabulary import Vocabulary

# Long enough for a loaded machine; reached only by a failure.
PATIENCE = 30


@dataclass(frozen=True)
class FakePrompts:
    vocabulary: Vocabulary
    context: tuple[int, int]


@dataclass
class FakeSegmenter:
    """Has the segmenter's interface as far as words and settings go, and remembers what it was asked."""

    settings: SegmenterSettings = field(default_factory=SegmenterSettings)
    encoded: list[tuple[str, ...]] = field(default_factory=list)
    prompts: FakePrompts | None = None
    gate: threading.Event | None = None
    begun: threading.Event = field(default_factory=threading.Event)
    full_resolution: int = 192
    preview_resolution: int = 128

    def with_settings(self, settings):
        if settings.preview_resolution % 8:
            raise SettingsError(
                f"preview_resolution is {settings.preview_resolution}; expected a multiple of 8"
            )
        other = FakeSegmenter(settings, self.encoded, gate=self.gate, begun=self.begun)
        if self.prompts is not None:
            other.prompts = (
                self.prompts if other.fits(self.prompts) else other.encode(self.prompts.vocabulary)
            )
        return other

    def fits(self, prompts):
        return prompts.context == (self.settings.neighbor_tokens, self.settings.hypernym_tokens)

    def encode(self, vocabulary):
        self.begun.set()
        if self.gate is not None:
            assert self.gate.wait(PATIENCE)
        self.encoded.append(vocabulary.names)
        if "unspeakable" in vocabulary.names:
            raise VocabularyError("'unspeakable' has no tokens")
        return FakePrompts(vocabulary, (self.settings.neighbor_tokens, self.settings.hypernym_tokens))

    def use(self, prompts):
        assert self.fits(prompts)
        self.prompts = prompts

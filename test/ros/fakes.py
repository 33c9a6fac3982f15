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
class FakeReport:
    hits: int
    misses: int
    seconds: float


@dataclass(frozen=True)
class FakePrompts:
    vocabulary: Vocabulary
    context: tuple[int, int]
    report: FakeReport


@dataclass
class FakeSegmenter:
    """Has the segmenter's interface as far as words and settings go, and remembers what it was asked."""

    settings: SegmenterSettings = field(default_factory=SegmenterSettings)
    encoded: list[tuple[str, ...]] = field(default_factory=list)
    checked: list[tuple[str, ...]] = field(default_factory=list)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    prompts: FakePrompts | None = None
    gate: threading.Event | None = None
    full_resolution: int = 192
    preview_resolution: int = 128
    text_encoder_loaded: bool = False

    def with_settings(self, settings):
        if settings.preview_resolution % 8:
            raise SettingsError(
                f"preview_resolution is {settings.preview_resolution}; expected a multiple of 8"
            )
        other = FakeSegmenter(settings, self.encoded, self.checked, self.asked, gate=self.gate)
        if self.prompts is not None:
            other.prompts = (
                self.prompts if other.fits(self.prompts) else other.encode(self.prompts.vocabulary)
            )
        return other

    def fits(self, prompts):
        return prompts.context == (self.settings.neighbor_tokens, self.settings.hypernym_tokens)

    def check(self, vocabulary):
        self.checked.append(vocabulary.names)
        for prompt in vocabulary.queries:
            if len(prompt) > 100:
                raise VocabularyError(f"the prompt {prompt!r} is too long")

    def encode(self, vocabulary):
        self.asked.append(vocabulary.names)
        if self.gate is not None:
            assert self.gate.wait(PATIENCE)
        self.encoded.append(vocabulary.names)
        if "unspeakable" in vocabulary.names:
            raise VocabularyError("'unspeakable' has no tokens")
        context = (self.settings.neighbor_tokens, self.settings.hypernym_tokens)
        return FakePrompts(vocabulary, context, FakeReport(0, len(vocabulary.queries), 0.25))

    def use(self, prompts):
        assert self.fits(prompts)
        self.prompts = prompts

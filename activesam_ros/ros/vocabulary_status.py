"""How the vocabulary is: what is in force, what is on its way, what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.ros.diagnostics import Level, Status
from activesam_ros.ros.rules import Rule, judged, known

if TYPE_CHECKING:
    from activesam_ros.ros.vocabulary_loader import LoadedVocabulary

NAME = "vocabulary"


@dataclass(frozen=True)
class VocabularyView:
    """What is known of the vocabulary at one moment.

    Attributes:
        accepted: revision of the vocabulary that was accepted last.
        loaded: whether the model is there; None if none is on its way either.
        closing: whether the model is being closed.
        served: what frames are labelled with; None before the first.
        preparing_seconds: how long words or settings have been in preparation; None if none are.
        late: whether that is longer than it may take.
        error: why the last change failed; None if it did not.
        prompt_cache: where known prompts are kept; None if that is not known yet.
    """

    accepted: int
    loaded: bool | None = None
    closing: bool = False
    served: LoadedVocabulary | None = None
    preparing_seconds: float | None = None
    late: bool = False
    error: str | None = None
    prompt_cache: str | None = None


def vocabulary_status(view: VocabularyView) -> Status:
    """The status of the vocabulary; its level follows from `RULES`."""
    return judged(NAME, view, RULES, _values(view))


def _values(view: VocabularyView) -> dict[str, object]:
    values = {
        "revision accepted": view.accepted,
        "prompt cache": view.prompt_cache,
        "preparing seconds": view.preparing_seconds,
        "last error": view.error,
    }
    served = view.served
    if served is not None:
        values = {
            "revision": served.revision,
            **values,
            "classes": len(served.vocabulary),
            "prompts": len(served.vocabulary.prompts),
            "phrases from the cache": served.report.hits,
            "phrases encoded": served.report.misses,
            "encoding seconds": float(served.report.seconds),
            "text encoder loaded": bool(served.segmenter.text_encoder_loaded),
        }
    return known(values)


def _failed(view: VocabularyView) -> str | None:
    if view.error is None or view.served is None or view.closing:
        return None
    return f"the last change failed, revision {view.served.revision} is in force: {view.error}"


def _late(view: VocabularyView) -> str | None:
    if not view.late or view.closing:
        return None
    revision = (
        f"revision {view.served.revision} stays in force" if view.served else "no vocabulary is in force yet"
    )
    return (
        f"words have been in preparation for {view.preparing_seconds or 0:.0f} s, and later changes wait for them; "
        f"{revision}"
    )


def _coming(view: VocabularyView) -> str | None:
    if view.closing:
        return "the model is being closed"
    if view.loaded is None or view.served is not None:
        return None
    return "the first vocabulary is being encoded" if view.loaded else "the model is loading"


def _well(view: VocabularyView) -> str:
    if view.served is None:
        return "no model is loaded, so none is in force"
    coming = f", revision {view.accepted} is coming" if view.accepted != view.served.revision else ""
    return f"revision {view.served.revision} is in force{coming}"


RULES: tuple[Rule[VocabularyView], ...] = (
    Rule(Level.ERROR, "the last change failed; the words before it stay in force", _failed),
    Rule(
        Level.WARN,
        "words or settings have been in preparation for longer than `worker_timeout`; later changes wait for them",
        _late,
    ),
    Rule(
        Level.WARN,
        "the model is loading or being closed, or its first vocabulary is being encoded",
        _coming,
    ),
    Rule(Level.OK, "else, also without a model", _well),
)
"""In this order."""

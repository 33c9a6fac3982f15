"""How the vocabulary is: what is in force, what is on its way, what went wrong."""

from __future__ import annotations

from activesam_ros.ros.diagnostics import Level, Status
from activesam_ros.ros.preparation import Served

NAME = "vocabulary"


def vocabulary_status(
    served: Served | None, accepted: int, loaded: bool, error: str | None, prompt_cache: str
) -> Status:
    """The status of the vocabulary.

    WARN until the first vocabulary is in force, ERROR after a change that failed until one succeeds, else OK.

    Args:
        served: what frames are labelled with; None before the first.
        accepted: revision of the vocabulary that was accepted last.
        loaded: whether the model is there.
        error: why the last change failed; None if it did not.
        prompt_cache: where known prompts are kept.
    """
    values: dict[str, object] = {"revision accepted": accepted, "prompt cache": prompt_cache}
    if served is None:
        doing = "the first vocabulary is being encoded" if loaded else "the model is loading"
        return Status(NAME, Level.WARN, doing, values)
    values = {
        "revision": served.revision,
        **values,
        "classes": len(served.vocabulary),
        "prompts": len(served.vocabulary.queries),
        "phrases from the cache": served.report.hits,
        "phrases encoded": served.report.misses,
        "encoding seconds": float(served.report.seconds),
        "text encoder loaded": bool(served.segmenter.text_encoder_loaded),
    }
    if error is not None:
        values["last error"] = error
        message = f"the last change failed, revision {served.revision} is in force: {error}"
        return Status(NAME, Level.ERROR, message, values)
    coming = f", revision {accepted} is coming" if accepted != served.revision else ""
    return Status(NAME, Level.OK, f"revision {served.revision} is in force{coming}", values)

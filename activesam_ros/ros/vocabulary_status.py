"""How the vocabulary is: what is in force, what is on its way, what went wrong."""

from __future__ import annotations

from activesam_ros.ros.diagnostics import Level, Status
from activesam_ros.ros.preparation import Served

NAME = "vocabulary"


def vocabulary_status(
    served: Served | None, accepted: int, loaded: bool | None, error: str | None, prompt_cache: str | None
) -> Status:
    """The status of the vocabulary.

    WARN while the first vocabulary is on its way, ERROR after a change that failed until one succeeds, else OK.

    Args:
        served: what frames are labelled with; None before the first.
        accepted: revision of the vocabulary that was accepted last.
        loaded: whether the model is there; None if none is wanted yet.
        error: why the last change failed; None if it did not.
        prompt_cache: where known prompts are kept; None if that is not known yet.
    """
    values: dict[str, object] = {"revision accepted": accepted}
    if prompt_cache is not None:
        values["prompt cache"] = prompt_cache
    if loaded is None:
        return Status(NAME, Level.OK, "no model is loaded, so none is in force", values)
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

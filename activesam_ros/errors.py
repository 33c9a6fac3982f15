"""The errors that a caller of the library is meant to catch.

Each message is one sentence that says what was wrong, what was expected and what to do.
"""

LONGEST = 4000
"""Most characters of a sentence or a line of the log."""


class ActiveSamError(Exception):
    """Base of every error that the library raises on purpose."""


def describe(error: BaseException) -> str:
    """Return an exception as one line: its message, after its type unless the error is one of this module."""
    message = reason(error)
    name = type(error).__name__
    return message if isinstance(error, ActiveSamError) or message == name else f"{name}: {message}"


def reason(error: BaseException) -> str:
    """Return the message of an exception on one line, for use inside a sentence; its type where it has none."""
    return printable(" ".join(str(error).split())) or type(error).__name__


def printable(text: str) -> str:
    """Return a text that may hold anything as one line that is safe to print and to send, cut where it is very long.

    What does not print is escaped: line breaks, terminal escapes, marks that turn the direction of writing, lone
    surrogates. So whoever chose a part of the text can neither add a line to a log nor steer a terminal.
    """
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}… (cut, {len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


class SettingsError(ActiveSamError, ValueError):
    """A setting is out of range, or does not fit the model."""


class VocabularyError(ActiveSamError, ValueError):
    """A vocabulary is empty, ambiguous or too long for the model."""


class ModelError(ActiveSamError, RuntimeError):
    """A model cannot be loaded: missing, gated, offline, incomplete or of another type."""


class ImageError(ActiveSamError, ValueError):
    """An image has the wrong type, shape or size."""


class CalibrationError(ActiveSamError, ValueError):
    """A camera is not calibrated, or in a way that is not known."""


class OutOfMemoryError(ActiveSamError, RuntimeError):
    """There is no memory for an image, however little of it is done at a time."""


class EvaluationError(ActiveSamError, RuntimeError):
    """A recording, its ground truth or what was asked of them does not allow an evaluation."""


class DatasetError(ActiveSamError, ValueError):
    """A data set is not laid out as expected, or one of its files cannot be used."""

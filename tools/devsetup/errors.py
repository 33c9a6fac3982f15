"""The one error of the set-up."""


class SetupError(Exception):
    """Set-up cannot go on; the message says what was wrong, what was expected and what to do."""

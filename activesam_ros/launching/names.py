"""Names of topics and nodes in a namespace."""

from __future__ import annotations


def full_name(*parts: str) -> str:
    """Parts of a name, joined with one slash each, the first from the root; empty ones are left out.

    >>> full_name("", "camera", "image_raw"), full_name("/robot/", "image")
    ('/camera/image_raw', '/robot/image')
    """
    return "/" + "/".join(stripped for part in parts if (stripped := part.strip("/")))

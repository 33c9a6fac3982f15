"""A studio's session on the demo model."""

import pytest
from studio_browser import chromium, start, visit
from studio_session import Streets, settled

from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.studio.document import start_document
from activesam_ros.studio.local import LocalSession

__all__ = ["chromium", "start", "visit"]


@pytest.fixture
def open_session(toytown_checkpoint):
    """Opens a session over some images with some parameters; waits for its first view."""
    opened = []

    def open_(images, **parameters):
        document = start_document(parameters)
        segmenter = ActiveSegmenter(
            toytown_checkpoint, document.configuration.settings, text_encoder="keep", prompt_cache=None
        )
        session = LocalSession(segmenter, Streets(images), document)
        session.start()
        opened.append(session)
        settled(session)
        return session

    yield open_
    for session in opened:
        session.close()

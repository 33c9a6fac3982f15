"""Pictures for a studio's session, and waiting for it."""

import time


class Streets:
    """Two rendered pictures, and one that cannot be read."""

    title = "streets"

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def name(self, index):
        return f"picture {index}"

    def read(self, index):
        if isinstance(self.images[index], Exception):
            raise self.images[index]
        return self.images[index]


def settled(session, condition=lambda: True):
    """Wait until a session shows what was asked for, or says why not."""
    until = time.monotonic() + 60
    while (session.busy and not session.message) or not condition():
        assert time.monotonic() < until, "the session does not come to rest"
        time.sleep(0.005)
    return session.view

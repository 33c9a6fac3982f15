"""The command `activesam-studio`: try words and settings on your pictures, in the browser."""

from __future__ import annotations

import argparse
import importlib.util
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activesam_ros.cli import command
from activesam_ros.errors import ActiveSamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.studio.frames import Frames
    from activesam_ros.studio.session import Session

NAME = "activesam-studio"
PORT = 8765


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="A page in the browser on which you edit classes and settings, and see at once what becomes of "
        "your pictures. Nothing leaves this machine, and no internet is needed.",
    )
    pictures = parser.add_mutually_exclusive_group(required=True)
    pictures.add_argument("--images", type=Path, metavar="DIR", help="a folder of image files")
    pictures.add_argument("--bag", type=Path, metavar="BAG", help="a recording")
    pictures.add_argument("--demo", action="store_true", help="a rendered street, with the demo model")
    pictures.add_argument(
        "--node", metavar="NAME", help="a running node, whose parameters are set: /activesam"
    )
    parser.add_argument("--camera", default="", help="of the node's cameras (default: the only one)")
    parser.add_argument("--topic", help="of the images in the recording (default: the only one)")
    command.add_model(parser, note=" (default: facebook/sam3, with --demo toytown)")
    command.add_vocabulary(parser)
    parser.add_argument(
        "--folder",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="where vocabularies are read and saved",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; another than this machine's own asks for a token",
    )
    parser.add_argument(
        "--port", type=command.whole_number(0, 65535), default=PORT, help=f"default: {PORT}; 0: a free one"
    )
    command.add_device(parser)
    command.add_dtype(parser)
    return command.run(parser, _studio, arguments, interrupted="stopped")


def _require_effect(given: argparse.Namespace) -> None:
    """Refuse options that would be without effect.

    Raises:
        UsageError: there are such.
    """
    if given.topic is not None and given.bag is None:
        raise command.UsageError("--topic names images of a recording; give --bag, or leave it out")
    if given.node is None:
        if given.camera:
            raise command.UsageError("--camera chooses one of a node's; give --node, or leave it out")
        return
    if given.vocabulary or given.model:
        raise command.UsageError("--node has its own model and classes; leave out --model and --vocabulary")
    for option, value in (("--device", given.device), ("--dtype", given.dtype)):
        if value != "auto":
            raise command.UsageError(f"{option} has no effect on the model of a node; leave it out")


def _studio(given: argparse.Namespace) -> int:
    _require_effect(given)
    if importlib.util.find_spec("nicegui") is None:
        raise ActiveSamError(
            "the studio's web framework is not installed; install it with: pip install 'nicegui>=3,<4'"
        )
    with command.loading():
        from activesam_ros.studio.server import is_loopback, make_app, new_token, serve
        from activesam_ros.studio.sharing import Control, VocabularyFiles

    files = VocabularyFiles(given.folder)
    token = None if is_loopback(given.host) else new_token()
    with ExitStack() as opening:
        session, about = _session(given, opening)
        session.start()
        opening.callback(session.close)

        def ready(port: int) -> None:
            name = socket.gethostname() if given.host in ("0.0.0.0", "::") else given.host
            ending = f"/?token={token}" if token else "/"
            shown = f"[{name}]" if ":" in name else name
            print(f"the studio is at http://{shown}:{port}{ending}  (Ctrl-C ends it)", flush=True)

        serve(make_app(session, Control(), files, about, token), given.host, given.port, ready)
    return command.DONE


def _session(given: argparse.Namespace, opening: ExitStack) -> tuple[Session, str]:
    """Return the session, not started yet, and a line about it for the head of the page."""
    if given.node is not None:
        from activesam_ros.studio.node import NodeSession

        command.say(f"waiting for {given.node}")
        return NodeSession(given.node, given.camera), f"the running node {given.node}"
    from activesam_ros.studio.document import start_document
    from activesam_ros.vocabulary.files import parse_class_list

    model = given.model or ("toytown" if given.demo else "facebook/sam3")
    stated = given.vocabulary or ("toytown" if given.demo else None)
    words = parse_class_list(stated) if stated else None
    asked: dict[str, Any] = {}
    if stated:
        asked = {"vocabulary": list(words)} if words is not None else {"vocabulary_file": stated}
    document = start_document(asked)
    settings = document.configuration.settings
    frames = _frames(given, settings.max_pixels, opening)
    with command.loading():
        from activesam_ros.segmenter import ActiveSegmenter
        from activesam_ros.studio.local import LocalSession

    command.say(f"loading {model}")
    segmenter = ActiveSegmenter.from_pretrained(
        model, given.device, given.dtype, settings, text_encoder="keep"
    )
    about = f"{frames.title} · {model} on {segmenter.device}"
    return LocalSession(segmenter, frames, document), about


def _frames(given: argparse.Namespace, max_pixels: int, opening: ExitStack) -> Frames:
    from activesam_ros.studio.frames import BagFrames, DemoFrames, FolderFrames

    if given.demo:
        return DemoFrames()
    if given.images is not None:
        if not given.images.is_dir():
            raise ActiveSamError(f"there is no folder {given.images}; expected one with image files")
        return FolderFrames(given.images, max_pixels)
    from activesam_ros.datasets.recordings import Recording

    return BagFrames(opening.enter_context(Recording(given.bag)), given.topic, max_pixels)


if __name__ == "__main__":
    sys.exit(main())

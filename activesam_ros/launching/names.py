"""Names of topics and nodes in a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PUSHED = "ros_namespace"
"""What `launch_ros` calls the namespace that an including launch file has pushed."""


def full_name(*parts: str) -> str:
    """Parts of a name, joined with one slash each, the first from the root; empty ones are left out.

    >>> full_name("", "camera", "image_raw"), full_name("/robot/", "image")
    ('/camera/image_raw', '/robot/image')
    """
    return "/" + "/".join(stripped for part in parts if (stripped := part.strip("/")))


def namespace_in_force(given: Mapping[str, str]) -> str:
    """Where nodes with the argument `namespace` run: below a pushed namespace, unless it begins with a slash.

    >>> namespace_in_force({"ros_namespace": "/fleet", "namespace": "robot"})
    '/fleet/robot'
    """
    pushed, namespace = given.get(PUSHED, ""), given["namespace"]
    return namespace if not pushed or namespace.startswith("/") else full_name(pushed, namespace)

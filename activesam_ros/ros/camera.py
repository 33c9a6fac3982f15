"""One camera: its input, its outputs, and what was measured of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activesam_ros.ros.camera_input import CameraInput
from activesam_ros.ros.camera_outputs import CameraOutputs, Demand
from activesam_ros.ros.latency import Latency
from activesam_ros.stages.temporal_reuse import StreamMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.lifecycle import LifecycleNode

    from activesam_ros.ros.frame import Frame
    from activesam_ros.ros.inbox import Inbox
    from activesam_ros.ros.parameters import Policy, Setup


class Camera:
    """Ties the subscription of one camera to the demand for what is made of its images.

    Attributes:
        name: of the camera; empty: the only one.
        memory: what its last frames told of the next; the worker's thread.
        input, outputs, latency: its parts.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        setup: Setup,
        policy: Callable[[], Policy],
        inbox: Inbox[Frame],
        overflowed: Callable[[Camera], None],
        incompatible: Callable[[Camera], None],
    ) -> None:
        """Args:
            node: that subscribes and publishes.
            name: see above.
            setup, policy, inbox: see `CameraInput`.
            overflowed, incompatible: see `CameraInput`; called with this camera.

        Raises:
            SettingsError: quality of service is overridden by what it cannot be.
        """
        self.name = name
        self.memory = StreamMemory()
        self._say = node.get_logger().info
        self._active = False
        depth = setup.queue_size if setup.queue == "all" else 1
        self.outputs = CameraOutputs(node, name, depth, self.follow_demand)
        self.input = CameraInput(
            node,
            name,
            setup,
            policy,
            inbox,
            lambda: overflowed(self),
            lambda: incompatible(self),
        )
        self.latency = Latency()

    @property
    def title(self) -> str:
        """Such as "camera front", or "camera" for the only one."""
        return f"camera {self.name}".strip()

    @property
    def prefix(self) -> str:
        """What a sentence about it in the log begins with."""
        return f"{self.name}: " if self.name else ""

    @property
    def demand(self) -> Demand:
        """What its subscribers want; nothing while the node is not active."""
        return self.outputs.demand() if self._active else Demand.NOTHING

    def activate(self, active: bool) -> None:
        """Follow the demand from now on, or stop; executor's thread."""
        self._active = active
        self.follow_demand()

    def follow_demand(self) -> None:
        """Subscribe the images if anything made of them is wanted, else drop the subscription; executor's thread."""
        wanted = self.demand is not Demand.NOTHING
        if wanted == self.input.listening:
            return
        if wanted:
            # Another one, since a worker that was left behind may still have the old one in hand.
            self.memory = StreamMemory()
            self.input.listen()
            self._say(f"{self.prefix}images are taken from {self.input.topic}")
        else:
            self.input.leave()
            why = (
                "nobody subscribes to the results any more"
                if self._active
                else "the node is not active any more"
            )
            self._say(f"{self.prefix}no images are taken: {why}")

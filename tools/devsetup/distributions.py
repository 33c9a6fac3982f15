"""The ROS 2 distributions: what set-up, the workflow, the pages and the tests know of each comes from this table."""

from dataclasses import dataclass
from datetime import date

# The packages of every distribution that the node and its messages need.
_WHEELS = (
    "rclpy", "rmw-fastrtps-cpp", "sensor-msgs", "std-msgs", "std-srvs", "diagnostic-msgs", "lifecycle-msgs",
    "ament-cmake", "ament-package", "ament-cmake-include-directories", "rosidl-default-generators",
    "rosidl-core-generators",
)  # fmt: skip


@dataclass(frozen=True)
class Distribution:
    """A ROS 2 distribution.

    Attributes:
        name: as in `ROS_DISTRO`.
        ubuntu: the release that its packages are made for.
        python: of its packages.
        numpy: of its packages; set-up keeps the very version that it finds.
        until: the last day with updates; None for one that moves on.
        wheels: the names of its Python wheels that are not the same for all; None where there are no wheels.
    """

    name: str
    ubuntu: str
    python: str
    numpy: str
    until: date | None
    wheels: tuple[str, ...] | None = None

    @property
    def title(self) -> str:
        """The name as in a sentence."""
        return self.name.capitalize()

    def requirements(self) -> tuple[str, ...]:
        """Return what pip installs where no ROS is."""
        if self.wheels is None:
            raise ValueError(f"there are no wheels of {self.name}")
        return tuple(f"ros-{self.name}-{package}" for package in (*_WHEELS, *self.wheels))

    def has_ended(self, today: date) -> bool:
        """Whether it gets no updates any more."""
        return self.until is not None and today > self.until


_TABLE = (
    Distribution(
        "jazzy", "24.04", "3.12", "1.26", date(2029, 5, 31),
        wheels=(
            "ament-cmake-ros", "ament-cmake-gmock", "ament-cmake-gtest", "ament-cmake-pytest", "gmock-vendor",
            "gtest-vendor", "domain-coordinator", "python-cmake-module", "fastrtps-cmake-module",
        ),
    ),
    Distribution("kilted", "24.04", "3.12", "1.26", date(2026, 12, 31), wheels=("ament-cmake-ros-core",)),
    Distribution("lyrical", "26.04", "3.14", "2.3", date(2031, 5, 31)),
    Distribution("rolling", "26.04", "3.14", "2.3", None),
)  # fmt: skip
DISTRIBUTIONS = {one.name: one for one in _TABLE}
DEFAULT = "jazzy"
"""The one that is installed where no ROS is."""

AS_WHEELS = tuple(one.name for one in _TABLE if one.wheels is not None)
WHEEL_PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
WHEEL_MACHINE = "x86_64"

# Released with Python 3.10 or older, for which the transformers release in use does not exist.
TOO_OLD = (
    "ardent", "bouncy", "crystal", "dashing", "eloquent", "foxy", "galactic", "humble", "iron",
)  # fmt: skip


def listed(names: tuple[str, ...] = tuple(DISTRIBUTIONS), last: str = "or") -> str:
    """Return the titles as in a sentence: "Jazzy, Kilted or Rolling"."""
    titles = [DISTRIBUTIONS[name].title for name in names]
    return f" {last} ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))


def table() -> str:
    """Return the table of docs/setup.md."""
    lines = [
        "| distribution | updates until | its packages: Ubuntu, Python, numpy | without ROS: Python wheels |",
        "| --- | --- | --- | --- |",
    ]
    for one in _TABLE:
        made = (
            "no"
            if one.wheels is None
            else "yes, the default"
            if one.name == DEFAULT
            else f"`DISTRO={one.name}`"
        )
        until = "moves on" if one.until is None else one.until.isoformat()
        lines.append(f"| {one.title} | {until} | {one.ubuntu}, {one.python}, {one.numpy} | {made} |")
    return "\n".join(lines)

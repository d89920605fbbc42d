"""What hostile code in a run would try, and two controls. `python -m attacks` makes the attempts."""

from . import controls, asking, vault, processes, network, agents, kernel  # noqa: F401  # isort: skip  as the table has them
from .trying import ATTEMPTS, CONTROLS, HELD

__all__ = ["ATTEMPTS", "CONTROLS", "HELD"]

"""The controlled tasks by name: worlds with a demonstrator of exact likelihood and a judge that is known.

A new world is a module of the task's name and one line here. No step of a study imports this table: a world
is opened by its module (`controlled.open_world`), so nothing is computed again for a new line.
"""

from collections.abc import Mapping

from afd_study.worlds.controlled import ControlledWorld
from afd_study.worlds.harmless import HarmlessWorld
from afd_study.worlds.helpful import HelpfulWorld

CONTROLLED: Mapping[str, type[ControlledWorld]] = {"harmless": HarmlessWorld, "helpful": HelpfulWorld}

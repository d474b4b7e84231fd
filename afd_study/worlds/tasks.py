"""The controlled tasks by name: worlds with a demonstrator of exact likelihood and a judge that is known."""

from collections.abc import Mapping

from afd_study.worlds.controlled import ControlledWorld
from afd_study.worlds.harmless import HarmlessWorld
from afd_study.worlds.helpful import HelpfulWorld

CONTROLLED: Mapping[str, type[ControlledWorld]] = {"harmless": HarmlessWorld, "helpful": HelpfulWorld}

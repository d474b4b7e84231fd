"""Every setting of a study by its dotted key."""

import typing

from pydantic import BaseModel

from afd_study.worlds.harmless import HarmlessSpec


def leaves(model, path=""):
    """Every setting by its dotted key; a training spec or a config counts as one."""
    for name, field in model.model_fields.items():
        inner = [
            model_
            for model_ in (field.annotation, *typing.get_args(field.annotation))
            if isinstance(model_, type)
        ]
        deeper = (
            [each for each in inner if issubclass(each, BaseModel)]
            if name in ("policy", "reward", "sampling")
            else []
        )
        if deeper:
            yield from leaves(deeper[0], f"{path}{name}.")
        elif name == "world":
            yield from (f"world.{knob}" for knob in HarmlessSpec.model_fields)
        else:
            yield f"{path}{name}"

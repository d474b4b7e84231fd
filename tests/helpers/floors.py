"""The floors of the house: who may import whom."""

import ast

# For each folder of the package, the other folders it may import; GROUND is everybody's.
MAY_IMPORT = {
    "theory": set(),
    "worlds": set(),
    "models": set(),
    "methods": {"theory", "worlds", "models"},
    "evaluation": {"theory", "worlds", "models"},
    "align": {"theory", "worlds", "models", "methods", "evaluation", "study"},
    "figures": {"methods"},  # the names and labels of methods (methods.arms), which load no model
    "study": {"theory", "worlds", "models", "methods", "evaluation", "align"},  # align: ALIGNING alone
}

# The floors inside study/, lowest first: a room may import what stands below it, and itself.
STUDY_FLOORS = (
    {"workflow", "setting_texts", "policy_spec", "reward_spec"},
    {"demonstrator_spec"},
    {"spec", "profiles", "notebook_parameters"},
    {"steps"},
    {"pipeline"},
    {"data_lines", "published_models"},
    {"study"},
    {"forecast", "frozen"},
    {"chapters"},
    {"freeze_pretrained", "text_places"},
    {"freeze", "__init__", "store_commands", "align_commands"},
    {"commands"},
    {"__main__"},
)
ALIGNING = {"align_commands"}  # the modules of study/ that may import align/, which stands above the others
GROUND = {"records", "errors", "settings", "plain_yaml", ""}  # "" is the package itself, for its version

NOTEBOOKS_MAY_IMPORT = {"study", "figures", "theory"}

NEVER = {"tests", "notebooks", "book", "conftest"}


def imports_of(tree, package):
    """Yield the full dotted name of everything that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            # `from afd_study import models` imports a folder by name
            yield from (f"{base}.{alias.name}" if base == "afd_study" else base for alias in node.names)

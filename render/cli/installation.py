"""Whether this program shares its environment with another package of the same name.

PyPI's package `render` has an import and a command `render`, too. Where both are installed, the files of one
replace those of the other.
"""

import re
from importlib import metadata

OURS = "render-prints"


def rivals(name: str = "render") -> dict[str, list[str]]:
    """Other distributions in this environment that install an import or a command of this name, each with
    what it installs."""
    found: dict[str, list[str]] = {}
    for other in metadata.packages_distributions().get(name, []):
        found.setdefault(_normal(other), []).append(f"an import `{name}`")
    for entry in metadata.entry_points(group="console_scripts", name=name):
        if entry.dist is not None:
            found.setdefault(_normal(entry.dist.name), []).append(f"a command `{name}`")
    return {other: sorted(set(what)) for other, what in found.items() if other != OURS}


def advice(other: str, what: list[str]) -> str:
    return (
        f"the package {other} has installed {' and '.join(what)} here too, and the package installed last "
        "has replaced files of the other one. Install this program in an environment of its own: pipx "
        f"install {OURS}, or uv tool install {OURS}. Its other name as a command, {OURS}, is never theirs."
    )


def _normal(name: str) -> str:
    """As PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()

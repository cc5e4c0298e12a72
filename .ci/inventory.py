"""What the app is made of: every package it needs, in which version, under which licence.

    python .ci/inventory.py lock       # requirements.lock: exact versions, for `pip install -r`
    python .ci/inventory.py licences   # a table
    python .ci/inventory.py sbom       # CycloneDX 1.5 as JSON, for whoever keeps such lists

Told of the environment that runs it; what `requirements.txt` does not lead to is left out.
"""

import json
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def requirements(path: Path) -> list[Requirement]:
    """Return what a file of requirements asks for."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def closure(asked: list[Requirement]) -> dict[str, Distribution]:
    """Return all packages that some requirements lead to, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    left = list(asked)
    while left:
        one = left.pop()
        name, extras = canonicalize_name(one.name), frozenset(one.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # for another system
        found[name] = package
        for text in package.requires or ():
            further = Requirement(text)
            marker = further.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                left.append(further)
    return dict(sorted(found.items()))


def licence(package: Distribution) -> str:
    """Return the licence that a package names, in a few words."""
    about = package.metadata
    if about.get("License-Expression"):
        return about["License-Expression"]
    named = [
        line.rpartition("::")[2].strip()
        for line in about.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    text = (about.get("License") or "").strip()
    short = text if text and "\n" not in text and len(text) < 60 else ""
    return short or ", ".join(named) or "not named"


def lock(packages: dict[str, Distribution]) -> str:
    """Return the lines of a lock file."""
    head = "# Exact versions of everything: made by `make lock` from requirements.txt.\n"
    return head + "".join(
        f"{name}=={re.sub(r'[+].*', '', one.version)}\n" for name, one in packages.items()
    )


def licences(packages: dict[str, Distribution]) -> str:
    """Return a table of packages, versions and licences."""
    rows = [(name, one.version, licence(one)) for name, one in packages.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}\n" for a, b, c in rows)


def sbom(packages: dict[str, Distribution]) -> str:
    """Return a software bill of materials."""
    components = [
        {
            "type": "library",
            "name": name,
            "version": one.version,
            "purl": f"pkg:pypi/{name}@{one.version}",
            "licenses": [{"license": {"name": licence(one)}}],
        }
        for name, one in packages.items()
    ]
    whole = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}
    return json.dumps(whole, indent=1) + "\n"


KINDS = {"lock": lock, "licences": licences, "sbom": sbom}


def main() -> None:
    """Print what is asked for."""
    asked = sys.argv[1] if len(sys.argv) == 2 else ""
    if asked not in KINDS:
        sys.exit(f"usage: inventory.py {'|'.join(KINDS)}")
    sys.stdout.write(KINDS[asked](closure(requirements(ROOT / "requirements.txt"))))


if __name__ == "__main__":
    main()

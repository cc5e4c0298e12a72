"""What whoever offers the app can set, by variables of the environment: ceilings above all."""

import os
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

PREFIX = "NONLOCAL_LENS_"

MEGABYTE = 1_000_000


def _setting(default: Any, meaning: str, least: int = 0) -> Any:
    return field(default=default, metadata={"meaning": meaning, "least": least})


@dataclass(frozen=True)
class Settings:
    """The settings; each is the variable NONLOCAL_LENS_ and its name in capitals.

    Raises:
        ValueError: A variable holds what it cannot.
    """

    results_mb: int = _setting(400, "Memory for what was computed, shared by all tabs.", 1)
    networks_mb: int = _setting(1000, "Memory for networks, each held once; one is in any case.", 1)
    pictures_mb: int = _setting(200, "Memory for pictures that were brought, decoded.", 1)
    uploads_mb: int = _setting(4000, "Disk for what all tabs bring together.", 1)
    tab_uploads_mb: int = _setting(2000, "Disk for what one tab brings.", 1)
    grace_s: int = _setting(30, "How long a tab that lost its connection is waited for, seconds.")
    threads: int = _setting(64, "Most threads of a computation; never more than free cores.", 1)
    at_once: int = _setting(0, "Computations at a time; 0 for as many as there are cores.")
    hosts: str = _setting(
        "localhost,127.0.0.1", "Names the app answers to, with commas; * for all."
    )
    metrics_port: int = _setting(0, "Port of counters for Prometheus on 127.0.0.1; 0 for none.")
    log: str = _setting("", "`json`: a line for every request and computation on stderr.")

    @classmethod
    def read(cls, environment: "os._Environ[str] | dict[str, str]") -> "Settings":
        """Return what an environment says; the usual where it says nothing."""
        found: dict[str, Any] = {}
        for one in fields(cls):
            variable = PREFIX + one.name.upper()
            text = environment.get(variable, "").strip()
            if not text:
                continue
            if one.type is str:
                found[one.name] = text
                continue
            least = one.metadata["least"]
            if not text.isdecimal() or int(text) < least:
                raise ValueError(f"{variable} must be a whole number from {least} on, got {text!r}")
            found[one.name] = int(text)
        settings = cls(**found)
        if settings.log not in ("", "json"):
            raise ValueError(f"{PREFIX}LOG must be json or nothing, got {settings.log!r}")
        if settings.metrics_port > 65_535:
            raise ValueError(
                f"{PREFIX}METRICS_PORT must be at most 65535, got {settings.metrics_port}"
            )
        return settings

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names that the app answers to."""
        return tuple(name.strip().lower() for name in self.hosts.split(",") if name.strip())


@cache
def settings() -> Settings:
    """Return the settings of this process, read once."""
    return Settings.read(os.environ)

"""Checks requests, and finds the release that answers each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.domains.domain import Domain
from gateway.domains.validation import Violations
from gateway.errors import ModelUnavailable
from gateway.inference.runner import ModelRunner, ServedRelease
from triton_models.signatures import DOMAIN_LINES


@dataclass
class Group:
    """The requests of a batch that one release answers."""

    release: ServedRelease
    places: list[int] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    """What the domain makes of each, ``None`` where it was looked at closely."""


class Choosing:
    """Chooses releases for requests.

    Args:
        runner: Knows what is routed, and serves.
    """

    def __init__(self, runner: ModelRunner) -> None:
        self._runner = runner

    def one(
        self, domain: Domain[Any, Any], request: Any, violations: Violations | None
    ) -> tuple[ServedRelease, Any]:
        """Return the release that answers and what it is asked.

        Raises:
            InvalidRequest: With every violation.
            ModelUnavailable: If the request is right, but no release serves.
        """
        if violations is None or not violations.found:
            known = self._plain(domain, request)
            if known is not None:
                return known
        (group,) = self.groups(domain, [request], [""], violations or Violations())
        return group.release, domain.row(request, group.release.manifest)

    def _plain(self, domain: Domain[Any, Any], request: Any) -> tuple[ServedRelease, Any] | None:
        """Return the release and the row of a plainly valid request that a release answers."""
        line = domain.line(request)
        release = line and self._runner.find(line, domain.sticky_key(request))
        row = domain.read(request, release.manifest) if release else None
        return None if row is None or not release else (release, row)

    def groups(
        self,
        domain: Domain[Any, Any],
        requests: Sequence[Any],
        prefixes: Sequence[str],
        violations: Violations,
    ) -> list[Group]:
        """Check every request and find the release that answers it.

        Raises:
            InvalidRequest: With every violation of every request.
            ModelUnavailable: If all are valid as far as can be told, but a line does not serve.
        """
        groups: dict[str, Group] = {}
        unavailable: ModelUnavailable | None = None
        for place, (request, prefix) in enumerate(zip(requests, prefixes, strict=True)):
            known = self._plain(domain, request)
            if known is not None:
                release, row = known
                group = groups.setdefault(release.model_name, Group(release))
                group.places.append(place)
                group.rows.append(row)
                continue
            below = violations.below(prefix)
            line = domain.check(request, below)
            if line is None:
                continue
            try:
                release = self._runner.choose(line, domain.sticky_key(request))
            except ModelUnavailable as error:
                if not self._blames_evidence(line, below):
                    unavailable = error
                continue
            domain.check_schema(request, release.manifest, below)
            group = groups.setdefault(release.model_name, Group(release))
            group.places.append(place)
            group.rows.append(None)
        violations.raise_if_any()
        if unavailable is not None:
            raise unavailable
        return list(groups.values())

    def _blames_evidence(self, line: str, violations: Violations) -> bool:
        """Note a violation if this kind of evidence is not served here but another kind is."""
        routed = {route.line for route in self._runner.routes()}
        (lines,) = (lines for lines in DOMAIN_LINES.values() if line in lines)
        served = [other for other in lines if other in routed]
        if line in routed or not served:
            return False
        kinds = [other.rpartition("-")[2] for other in served]
        text = f"is a kind of evidence that is not served here; served: {', '.join(kinds)}"
        violations.add(line.rpartition("-")[2], text)
        return True

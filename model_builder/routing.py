"""Which releases answer: changes of the routes, each one a new numbered file.

A change is worked out from the routes in force and written as the next number, create-only: if
somebody else wrote that number first, nothing is written, and the change is not repeated on
routes that nobody has looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from model_builder.errors import NothingToRollBack, NotPromotable
from triton_models.release import Manifest, Routes, RouteTarget
from triton_models.signatures import DOMAIN_LINES
from triton_models.store import ReleaseStore
from triton_models.store_errors import ReleaseNotFound, RoutesChanged

Targets = tuple[RouteTarget, ...]

_ATTEMPTS = 5


@dataclass(frozen=True)
class Change:
    """A route file that was written."""

    number: int
    before: Routes
    after: Routes
    note: str


def route_first(store: ReleaseStore, manifest: Manifest) -> bool:
    """Give a new release all of its line's calls, if no release has any; say whether it has.

    What the gate refused gets none.
    """
    line, release = manifest.line, manifest.release
    for _ in range(_ATTEMPTS):
        number, routes = store.routes()
        if routes.lines.get(line) or manifest.verdict == "refused":
            return False
        lines = {**routes.lines, line: (RouteTarget(release=release),)}
        new = routes.model_copy(update={"lines": lines})
        try:
            _write(store, number, routes, new, f"build {line}/{release}")
        except RoutesChanged:
            continue  # another build was first; it may even have routed this line
        return True
    return False


def promote(
    store: ReleaseStore,
    line: str,
    release: str,
    weight: float = 1.0,
    after: int | None = None,
    *,
    unproven: bool = False,
) -> Change:
    """Give a release a share of its line's calls, and the others what is left.

    Args:
        store: Has the release.
        line: Its line.
        release: Its name.
        weight: Its share, in (0, 1]; those that are routed share the rest as they do now.
        after: Only if this is still the number in force.
        unproven: Whether one may be promoted that no real Triton has answered for.

    Raises:
        ReleaseNotFound: If there is no such release.
        NotPromotable: If it was refused or is not proven, or nothing else could take the rest.
        RoutesChanged: If somebody else changed the routes meanwhile.
    """
    number, routes = _in_force(store, after)
    manifest = store.manifest(line, release)
    _check(manifest)
    if not manifest.served_parity and not unproven:
        raise NotPromotable(
            f"{line}/{release}",
            "it was built without the proof that it is served as it was trained; "
            "--unproven promotes it all the same",
        )
    others = [one for one in routes.lines.get(line, ()) if one.release != release]
    total = sum(one.weight for one in others)
    if weight < 1 and not total:
        raise NotPromotable(
            f"{line}/{release}", f"nothing else of '{line}' is routed to take the other calls"
        )
    kept = [
        RouteTarget(release=one.release, weight=round(one.weight / total * (1 - weight), 6))
        for one in others
        if weight < 1 and one.weight > 0
    ]
    targets = (*kept, RouteTarget(release=release, weight=weight))
    shadows = {of: name for of, name in routes.shadows.items() if (of, name) != (line, release)}
    share = "" if weight == 1 else f" --weight {weight * 100:g}%"
    new = routes.model_copy(update={"lines": {**routes.lines, line: targets}, "shadows": shadows})
    change = _write(store, number, routes, new, f"promote {line}/{release}{share}")
    try:
        store.manifest(line, release)
    except ReleaseNotFound:  # it was pruned in this very moment
        _write(store, change.number, new, routes, f"take back {change.note}")
        raise
    return change


def replace_target(store: ReleaseStore, line: str, old: str, new: str) -> Change:
    """Give a release the share of the calls that another has, which gets none any more.

    Raises:
        ReleaseNotFound: If there is no such release.
        NotPromotable: If it was refused, or the other one answers no calls.
        RoutesChanged: If somebody else changed the routes meanwhile.
    """
    number, routes = _in_force(store, None)
    _check(store.manifest(line, new))
    targets = routes.lines.get(line, ())
    if not any(one.release == old and one.weight > 0 for one in targets):
        raise NotPromotable(f"{line}/{new}", f"{line}/{old} answers no calls that it could take")
    replaced = tuple(
        one.model_copy(update={"release": new}) if one.release == old else one
        for one in targets
        if one.release != new
    )
    changed = routes.model_copy(update={"lines": {**routes.lines, line: replaced}})
    return _write(store, number, routes, changed, f"replace {line}/{old} by {new}")


def shadow(store: ReleaseStore, line: str, release: str | None, after: int | None = None) -> Change:
    """Have a release asked what its line is asked, without answering; ``None``: none any more.

    Raises:
        ReleaseNotFound: If there is no such release.
        NotPromotable: If it was refused, or already answers.
        RoutesChanged: If somebody else changed the routes meanwhile.
    """
    number, routes = _in_force(store, after)
    shadows = {of: name for of, name in routes.shadows.items() if of != line}
    note = f"shadow {line} --stop"
    if release is not None:
        name = f"{line}/{release}"
        note = f"shadow {name}"
        _check(store.manifest(line, release))
        if any(one.release == release and one.weight for one in routes.lines.get(line, ())):
            raise NotPromotable(name, "it answers calls already")
        if not routes.lines.get(line):
            raise NotPromotable(name, f"no release of '{line}' is routed to compare it with")
        shadows[line] = release
    return _write(store, number, routes, routes.model_copy(update={"shadows": shadows}), note)


def rollback(store: ReleaseStore, domain: str, after: int | None = None) -> Change:
    """Bring back what answered before, for a domain (or for one line).

    Of a domain's lines, the one that was changed last goes back. Repeated, it goes further back.
    What came between stays in the history.

    Raises:
        NothingToRollBack: If no line has had other releases before.
        ReleaseNotFound: If what answered before was pruned.
        RoutesChanged: If somebody else changed the routes meanwhile.
    """
    number, routes = _in_force(store, after)
    earlier = {
        line: found
        for line in DOMAIN_LINES.get(domain, (domain,))
        if (found := _before(store, number, line)) is not None
    }
    if not earlier:
        raise NothingToRollBack(domain)
    last = max(file for file, _ in earlier.values())
    restores = {line: file for line, (file, _) in earlier.items() if file == last}
    lines = dict(routes.lines)
    for line in restores:
        lines[line] = earlier[line][1]
        for target in lines[line]:
            store.manifest(line, target.release)
    return _write(
        store,
        number,
        routes,
        # A shadow is a question about what comes next: it ends with it.
        routes.model_copy(
            update={
                "lines": lines,
                "shadows": {of: r for of, r in routes.shadows.items() if of not in restores},
            }
        ),
        f"rollback {domain}",
        restores,
    )


def _before(store: ReleaseStore, number: int, line: str) -> tuple[int, Targets] | None:
    """Return the newest file in which other releases answered a line, and those.

    A file that a rollback wrote stands for the one that it brought back, so that the next
    rollback goes on from there.
    """
    now = store.routes_of(number).lines.get(line, ()) if number else ()
    while number > 0:
        routes = store.routes_of(number)
        targets = routes.lines.get(line, ())
        if targets != now:
            return (number, targets) if targets else None
        number = routes.restores.get(line, number - 1)
    return None


def _in_force(store: ReleaseStore, after: int | None) -> tuple[int, Routes]:
    number, routes = store.routes()
    if after is not None and number != after:
        raise RoutesChanged(after, number)
    return number, routes


def _check(manifest: Manifest) -> None:
    name = f"{manifest.line}/{manifest.release}"
    if manifest.verdict == "refused":
        raise NotPromotable(name, "the gate refused it")


def _write(
    store: ReleaseStore,
    number: int,
    before: Routes,
    after: Routes,
    note: str,
    restores: Mapping[str, int] | None = None,
) -> Change:
    now = datetime.now(UTC).replace(microsecond=0)
    written = after.model_copy(
        update={"create_time": now, "note": note, "restores": dict(restores or {})}
    )
    return Change(store.add_routes(written, after=number), before, written, note)


def prunable(store: ReleaseStore, keep: int, lines: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return the releases that nobody needs.

    Those are neither routed, nor asked in the shadow, nor what a rollback would bring back, nor
    among the ``keep`` newest of their line.

    Args:
        store: Where to look.
        keep: How many of each line stay in any case.
        lines: Only these; all if there are none.
    """
    manifests: dict[str, list[Manifest]] = {}
    for line, release in store.releases():
        if not lines or line in lines:
            manifests.setdefault(line, []).append(store.manifest(line, release))
    found = []
    for line, of_line in manifests.items():
        newest = sorted(of_line, key=lambda one: (one.create_time, one.release), reverse=True)
        needed = _needed(store, line) | {one.release for one in newest[:keep]}
        found += [(line, one.release) for one in newest if one.release not in needed]
    return sorted(found)


def prune(store: ReleaseStore, keep: int, lines: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Remove what :func:`prunable` finds; return what was removed."""
    removed = []
    for line, release in prunable(store, keep, lines):
        if release not in _needed(store, line):  # again: somebody may just have routed it
            store.remove(line, release)
            removed.append((line, release))
    return removed


def _needed(store: ReleaseStore, line: str) -> set[str]:
    """Return what answers a line, is asked in its shadow, or would be brought back."""
    number, routes = store.routes()
    needed = {target.release for target in routes.lines.get(line, ())}
    if line in routes.shadows:
        needed.add(routes.shadows[line])
    earlier = _before(store, number, line)
    return needed | ({target.release for target in earlier[1]} if earlier else set())

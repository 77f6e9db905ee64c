from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest
from fake_runner import route
from manifests import manifest

from gateway.errors import ModelUnavailable
from gateway.inference.router import choose
from gateway.inference.runner import RouteState

LINE = "score-risk"
KEYS = [f"applicant-{number}" for number in range(4000)]


def routed(release: str, weight: float = 1.0, line: str = LINE, **state: object) -> RouteState:
    return replace(route(manifest(line, release)), weight=weight, **state)  # type: ignore[arg-type]


def shares(*routes: RouteState, keys: list[str] = KEYS) -> dict[str, float]:
    counts = Counter(choose(LINE, key, routes).release for key in keys)
    return {release: count / len(keys) for release, count in counts.items()}


def test_the_only_release_answers_every_key() -> None:
    assert choose(LINE, "", [routed("a")]).release == "a"
    assert shares(routed("a", 0.2)) == {"a": 1}


def test_each_release_gets_its_share_of_the_keys() -> None:
    assert shares(routed("a", 0.75), routed("b", 0.25)) == pytest.approx(
        {"a": 0.75, "b": 0.25}, abs=0.03
    )


def test_weights_need_not_sum_to_one() -> None:
    assert shares(routed("a", 0.3), routed("b", 0.1)) == pytest.approx(
        {"a": 0.75, "b": 0.25}, abs=0.03
    )


def test_the_same_key_stays_with_the_same_release() -> None:
    routes = [routed("a", 0.5), routed("b", 0.5)]
    first = [choose(LINE, key, routes).release for key in KEYS]
    assert [choose(LINE, key, routes).release for key in KEYS] == first


def test_a_key_stays_where_it_is_in_another_process() -> None:
    program = (
        "from fake_runner import route; from manifests import manifest;"
        "from gateway.inference.router import choose;"
        "routes = [route(manifest('score-risk', name)) for name in 'ab'];"
        "print(''.join(choose('score-risk', f'applicant-{n}', routes).release for n in range(40)))"
    )
    there = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r};{program}"],
        capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"},
    )  # fmt: skip
    routes = [routed("a"), routed("b")]
    here = "".join(choose(LINE, key, routes).release for key in KEYS[:40])
    assert there.stdout.strip() == here


def test_when_a_share_grows_no_key_moves_but_to_the_release_that_grows() -> None:
    before = [routed("a", 0.9), routed("b", 0.1)]
    after = [routed("a", 0.5), routed("b", 0.5)]
    for key in KEYS[:500]:
        if choose(LINE, key, before).release == "b":
            assert choose(LINE, key, after).release == "b"


def test_no_key_comes_back_while_a_share_grows_from_little_to_all() -> None:
    weights = (0.05, 0.5, 0.8, 1.0)
    had: set[str] = set()
    for weight in weights:
        routes = sorted((routed("a", 1 - weight), routed("b", weight)), key=lambda one: -one.weight)
        now = {key for key in KEYS if choose(LINE, key, routes).release == "b"}
        assert had <= now
        assert len(now) / len(KEYS) == pytest.approx(weight, abs=0.03)
        had = now


def test_two_lines_split_the_same_keys_differently() -> None:
    risk = [routed("a"), routed("b")]
    recommend = [routed("a", line="recommend"), routed("b", line="recommend")]
    same = sum(
        choose(LINE, key, risk).release == choose("recommend", key, recommend).release
        for key in KEYS
    )
    assert 0.4 < same / len(KEYS) < 0.6


def test_without_a_key_chance_decides() -> None:
    assert shares(routed("a", 0.5), routed("b", 0.5), keys=[""] * 4000) == pytest.approx(
        {"a": 0.5, "b": 0.5}, abs=0.05
    )


def test_a_release_that_does_not_serve_leaves_its_share_to_the_others() -> None:
    assert shares(routed("a", 0.9, serving=False), routed("b", 0.1)) == {"b": 1}


def test_a_release_of_no_weight_gets_nothing_even_if_it_serves_alone() -> None:
    assert shares(routed("a", 0.0), routed("b", 0.1)) == {"b": 1}
    with pytest.raises(ModelUnavailable):
        choose(LINE, "k", [routed("a", 0.0)])


def test_the_release_of_another_line_is_never_chosen() -> None:
    with pytest.raises(ModelUnavailable) as caught:
        choose(LINE, "k", [routed("a", line="recommend")])
    assert caught.value.metadata == {"line": LINE, "detail": "no release is routed"}


def test_if_none_serves_the_error_says_why_of_each() -> None:
    routes = [
        routed("a", serving=False, detail="it is being loaded"),
        RouteState(LINE, "b", 1, False, "the store has no release score-risk/b"),
    ]
    with pytest.raises(ModelUnavailable) as caught:
        choose(LINE, "k", routes)
    assert caught.value.metadata["detail"] == (
        "release 'a': it is being loaded; release 'b': the store has no release score-risk/b"
    )

"""Children of every CPU variant on a real Triton, and behind a real gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_images
from click.testing import CliRunner

from model_builder.child_release import Change, make_child
from model_builder.cli import cli
from model_builder.opened_release import Opened, opened_release
from model_builder.progress import SilentProgress
from model_builder.proof.verifying import verify
from model_builder.releasing import Releasing
from model_builder.routing import promote
from model_builder.variants.kinds import apply, parse
from model_builder.variants.pruned import prune
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

LINE = small_images.LINE


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, embedded_triton_available: None
) -> ReleaseStore:
    store = ReleaseStore(tmp_path_factory.mktemp("children") / "store")
    small_images.publish(store)
    return store


@pytest.fixture(scope="module")
def parent(store: ReleaseStore) -> Iterator[Opened]:
    with opened_release(store, LINE, "r1") as opened:
        yield opened


@pytest.mark.parametrize("name", ["graph", "fp16-weights", "int8-static", "graph+int8-static"])
def test_a_child_is_served_as_it_answered_and_can_be_promoted(
    store: ReleaseStore, parent: Opened, name: str
) -> None:
    (variant,) = parse([name])
    applied = apply(variant.parts, parent, parent.steps)
    change = Change(name, variant.precision, variant.how, applied.steps, details=applied.details)
    release = name.replace("+", ".").replace("-", "")
    made, _ = make_child(store, parent, change, Releasing(proven=True), SilentProgress(), release)
    assert made.served_parity.keys() == {"ensemble", "fused", "gateway"}
    assert made.latency.keys() == {"ensemble", "fused"}
    found = verify(store, LINE, release, SilentProgress())
    assert found.proof.served_parity.keys() == made.served_parity.keys()
    change_of_routes = promote(store, LINE, release)
    assert [one.release for one in change_of_routes.after.lines[LINE]] == [release]


def test_a_pruned_child_is_served_and_smaller(store: ReleaseStore, parent: Opened) -> None:
    change = prune(parent, 0.5, small_images.data(), SilentProgress())
    made, _ = make_child(store, parent, change, Releasing(proven=True), SilentProgress(), "pruned")
    core = next(path for path in made.files if path.endswith("classify/1/model.onnx"))
    old = core.replace("__pruned", "__r1")
    sizes = [len(store.model_file(m, p)) for m, p in ((made, core), (parent.manifest, old))]
    assert sizes[0] < 0.5 * sizes[1]
    assert made.served_parity.keys() == {"ensemble", "fused", "gateway"}
    assert made.review_threshold is not None
    assert made.hyperparameters["prune"] == 0.5
    with opened_release(store, LINE, "pruned") as opened:
        assert "network.safetensors" in opened.reports, "it can be gone on from"


def test_the_command_measures_goes_on_and_publishes(store: ReleaseStore, tmp_path: Path) -> None:
    arguments = ["optimize", f"{LINE}/r1", "--store", store.url, "--work", str(tmp_path / "work"),
                 "--variants", "graph,int8-static", "--choose", "graph", "--json"]  # fmt: skip
    dry = CliRunner().invoke(cli, [*arguments, "--dry-run"], catch_exceptions=False)
    assert dry.exit_code == 0
    told = json.loads(dry.stdout)
    assert [one["variant"] for one in told["variants"]] == ["graph", "int8-static"]
    assert told["release"] is None
    assert set(told["variants"][0]["times_as_fast"]["core"]) == {"1", "8", "32"}
    assert "tensorrt-fp16" in told["left_out"]
    page = Path(told["page"]).read_text()
    assert "<svg" in page
    again = CliRunner().invoke(cli, [*arguments, "--release", "best"], catch_exceptions=False)
    assert again.exit_code == 0
    assert again.stderr.count("(reused: measured ") == 2
    made = store.manifest(LINE, "best")
    assert json.loads(again.stdout)["release"] == "best"
    assert made.derived is not None
    assert (made.derived.variant, made.derived.release) == ("graph", f"{LINE}/r1")
    assert made.served_parity
    assert store.report(LINE, "best", "variants.html") is not None


def test_all_that_is_asked_wrongly_is_said_before_anything_is_measured(
    store: ReleaseStore, tmp_path: Path
) -> None:
    asked = ["optimize", f"{LINE}/r1", "--store", store.url, "--work", str(tmp_path / "w")]
    wrong = CliRunner().invoke(cli, [*asked, "--variants", "grap,int9"])
    assert wrong.exit_code == 2
    assert "'grap'" in wrong.stderr
    assert "'int9'" in wrong.stderr
    taken = CliRunner().invoke(cli, [*asked, "--variants", "graph", "--release", "r1"])
    assert taken.exit_code == 2
    assert not (tmp_path / "w").exists()

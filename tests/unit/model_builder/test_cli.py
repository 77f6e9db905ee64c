from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from signing_keys import make_keys

from model_builder.cli import TaskName, cli
from model_builder.discovery import Tasks
from triton_models.release import Routes, RouteTarget
from triton_models.signing import Verifier
from triton_models.store import ReleaseStore
from triton_models.trust import Trust

HEAVY = ("torch", "transformers", "onnx", "onnxruntime", "sklearn", "polars", "pyarrow")
NO_RULES = Path(__file__).parents[2] / "data" / "gate_without_rules.yaml"


class CommandLine:
    """Runs ``model-builder`` with store and cache in a folder."""

    def __init__(self, tasks: str, folder: Path) -> None:
        self._tasks = tasks
        self.folder = folder

    def __call__(self, *arguments: str, **more: str) -> Result:
        """Run it; ``more`` are variables of the environment."""
        environment = {
            "TRIDENT_CACHE_DIR": str(self.folder / "cache"),
            "TRIDENT_DATA_DIR": "",
            "TRIDENT_STORE": str(self.folder / "store"),
            "COLUMNS": "160",
            # Unit tests have no Triton, and a network of one epoch is worth nothing.
            "TRIDENT_UNPROVEN": "1",
            "TRIDENT_GATE": str(NO_RULES),
        } | more
        return CliRunner().invoke(cli, arguments, obj=Tasks(self._tasks), env=environment)

    def build(self, release: str, *more: str) -> Result:
        result = self("build", "toy", "--release", release, "--set", "epochs=1", *more)
        assert result.exit_code == 0, result.output
        return result


@pytest.fixture
def invoke(toy_tasks: str, tmp_path: Path) -> CommandLine:
    return CommandLine(toy_tasks, tmp_path)


Built = tuple[CommandLine, Result]


@pytest.fixture(scope="module")
def first(toy_tasks: str, quick_torch: None, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """What a first build said, and the command line to look at its store; not to be changed."""
    line = CommandLine(toy_tasks, tmp_path_factory.mktemp("first"))
    return line, line.build("r1", "--json")


@pytest.fixture(scope="module")
def second(toy_tasks: str, first: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The same of the build after it."""
    folder = tmp_path_factory.mktemp("second")
    shutil.copytree(first[0].folder, folder, dirs_exist_ok=True)
    line = CommandLine(toy_tasks, folder)
    return line, line.build("r2")


@pytest.fixture
def after_first(invoke: CommandLine, first: Built) -> CommandLine:
    """The command line beside a store of one's own that holds the first build."""
    shutil.copytree(first[0].folder, invoke.folder, dirs_exist_ok=True)
    return invoke


@pytest.mark.parametrize("arguments", [["--help"], ["build", "--help"], ["--version"]])
def test_help_answers_without_anything_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from model_builder.cli import cli\n"
        f"cli({arguments!r}, standalone_mode=False)\n"
        f"print(sorted(set({HEAVY!r}) & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == "[]\n"
    assert "model-builder" in done.stdout or "Usage" in done.stdout


def test_help_lists_the_tasks_with_what_they_do(invoke) -> None:
    text = invoke("build", "--help").output
    assert "toy  Learns a linear rule from two numbers and a category." in text


def test_json_is_one_object_and_nothing_else_on_standard_output(first) -> None:
    line, result = first
    found = json.loads(result.stdout)
    assert list(found) == ["line", "release", "manifest", "verdict", "seconds", "metrics", "run"]
    assert (found["line"], found["release"], found["verdict"]) == ("score-risk", "r1", "accepted")
    assert found["manifest"] == str(line.folder / "store/releases/score-risk/r1.json")
    assert found["metrics"]["test"]["auc"].keys() == {"value", "low", "high"}


def test_people_see_metrics_sizes_parity_and_what_to_do_next(first) -> None:
    line, result = first
    for part in (
        "made-up data",
        "this release",
        "coin",
        "parity with torch",
        "encode",
        "TensorRT  takes score (by its published operators)",
        f"manifest  {line.folder}/store/releases/score-risk/r1.json",
        f"gateway serve --embedded --store {line.folder}/store",
        "gateway call score-risk",
    ):
        assert part in result.stderr, part


def test_a_later_release_is_told_to_wait(second) -> None:
    line, result = second
    assert result.stdout == ""
    assert "Another release answers the calls of 'score-risk'" in result.stderr
    assert f"model-builder promote score-risk/r2 --store {line.folder}/store" in result.stderr
    assert "gateway serve" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tax"], "'tax' is not"),
        (["toy", "--set", "epochs=soon", "--set", "x=1"], "epochs: input should be a valid int"),
        (["toy", "--set", "epoch=1"], "did you mean epochs?"),
        (["toy", "--release", "R 1"], "Invalid value for --release"),
        (["toy", "--data", "generated-credits"], "Did you mean generated-credit"),
        (["toy", "--evidence", "measurements"], "--evidence is for diagnosis, not for toy"),
        (["toy", "--config", "missing.yaml"], "does not exist"),
    ],
    ids=["task", "types", "key", "release", "data", "evidence", "config"],
)
def test_what_is_asked_wrongly_exits_with_2(invoke, tmp_path, arguments, message) -> None:
    result = invoke("build", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not (tmp_path / "store").exists()


def test_evidence_that_the_data_do_not_hold_is_named() -> None:
    result = CliRunner().invoke(cli, ["build", "diagnosis", "--evidence", "note"])
    assert result.exit_code == 1
    assert "expected a column of notes (--set text=COLUMN), found none" in result.stderr


def test_a_failure_is_one_clear_line_and_exits_with_1(invoke, tmp_path) -> None:
    table = tmp_path / "loans.csv"
    table.write_text("income\n1\n")
    result = invoke("build", "toy", "--data", str(table), "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: {table}, row 1: expected a column 'default', found none\n"
    assert not (tmp_path / "store" / "releases").exists()


def test_a_release_that_exists_is_an_error_and_stays_as_it_is(after_first) -> None:
    manifest = after_first.folder / "store/releases/score-risk/r1.json"
    before = manifest.read_bytes()
    result = after_first("build", "toy", "--release", "r1", "--set", "epochs=1")
    assert result.exit_code == 1
    assert "r1" in result.stderr.splitlines()[-1]
    assert manifest.read_bytes() == before


def test_a_store_that_cannot_be_written_is_one_line(invoke, tmp_path) -> None:
    (tmp_path / "store").write_text("a file")
    result = invoke("build", "toy", "--set", "epochs=1")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.output


def test_lists_releases_with_their_share(second) -> None:
    line, _ = second
    found = json.loads(line("releases", "list", "--json").stdout)["releases"]
    assert [(row["release"], row["weight"]) for row in found] == [
        ("score-risk/r1", 1.0),
        ("score-risk/r2", 0.0),
    ]
    assert found[0]["generated"] is True
    assert "score-risk/r1 " in line("releases", "list").stdout


def test_a_release_is_promoted_split_compared_and_rolled_back(second, tmp_path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(second[0].folder, folder)
    line = CommandLine(second[0]._tasks, folder)
    refused = line("promote", "score-risk/r2")
    assert refused.exit_code == 1
    assert "built without the proof" in refused.stderr
    result = line("promote", "score-risk/r2", "--weight", "5%", "--unproven")
    assert result.exit_code == 0, result.output
    assert "Route file 2 is in force (promote score-risk/r2 --weight 5%)." in result.stderr
    assert "score-risk: r1 0.95 + r2 0.05, before: r1 1" in result.stderr
    late = line("promote", "score-risk/r2", "--unproven", "--after", "1")
    assert late.exit_code == 1
    assert "changed by somebody else (number 2, expected 1)" in late.stderr
    whole = line("releases", "diff", "score-risk/r1", "score-risk/r2", "--all").stdout
    assert "32 differ" in whole
    assert " bytes" in whole
    rows = json.loads(line("releases", "diff", "score-risk/r1", "score-risk/r1", "--json").stdout)
    assert rows == {"rows": []}
    assert json.loads(line("rollback", "risk", "--json").stdout)["number"] == 3
    history = line("releases", "history").stdout.splitlines()
    assert [text.split("  ")[-1] for text in history[1:]] == [
        "promote score-risk/r2 --weight 5%",
        "rollback risk",
    ]


def test_a_release_is_put_in_the_shadow_and_taken_out_of_it(second, tmp_path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(second[0].folder, folder)
    line = CommandLine(second[0]._tasks, folder)
    put = line("shadow", "score-risk/r2")
    assert put.exit_code == 0, put.output
    assert "Route file 2 is in force (shadow score-risk/r2)." in put.stderr
    assert "score-risk: r1 1 + r2 in the shadow, before: r1 1" in put.stderr
    rows = json.loads(line("releases", "list", "--json").stdout)["releases"]
    assert [row["shadow"] for row in rows] == [False, True]
    answering = line("shadow", "score-risk/r1")
    assert answering.exit_code == 1
    assert "it answers calls already" in answering.stderr
    stopped = json.loads(line("shadow", "score-risk", "--stop", "--json").stdout)
    assert (stopped["number"], stopped["shadows"]) == (3, {})
    assert line("shadow", "score-risk").exit_code == 2, "of a line, --stop alone makes sense"


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_build_signs_with_the_key_and_password_that_it_is_given(invoke, tmp_path, by) -> None:
    private, public = make_keys(tmp_path, password=b"open sesame")
    build = ("build", "toy", "--release", "r1", "--set", "epochs=1")
    how = ("--sign-key", str(private)) if by == "option" else ()
    key = {} if how else {"TRIDENT_SIGN_KEY": str(private)}
    wrong = invoke(*build, *how, **key, TRIDENT_SIGN_KEY_PASSWORD="open barley")
    assert wrong.exit_code == 2
    assert "Invalid value for --sign-key" in wrong.stderr
    assert not (tmp_path / "store").exists(), "it is found out before the training"
    done = invoke(*build, *how, **key, TRIDENT_SIGN_KEY_PASSWORD="open sesame")
    assert done.exit_code == 0, done.output
    trust = Trust(Verifier(public), required=True)
    signed = trust.manifest(ReleaseStore(tmp_path / "store"), "score-risk", "r1")
    assert signed.signature == "r1.sig"


@pytest.mark.parametrize("weight", ["0", "0%", "101%", "-5%", "much", "nan"])
def test_a_share_that_is_none_is_asked_wrongly(first, weight: str) -> None:
    result = first[0]("promote", "score-risk/r1", "--weight", weight)
    assert result.exit_code == 2
    assert "--weight" in result.stderr


def test_pruning_can_be_looked_at_first(second) -> None:
    line, _ = second
    found = json.loads(line("releases", "prune", "--keep", "0", "--dry-run", "--json").stdout)
    assert found == {"pruned": ["score-risk/r2"], "dry_run": True}
    assert "r2" in line("releases", "list").stdout


def test_what_the_gate_refuses_exits_with_3_and_leaves_nothing(invoke, tmp_path) -> None:
    gate = tmp_path / "gate.yaml"
    gate.write_text("lines: {score-risk: {floors: {test: {auc: 0.9999}}}}")
    asked = ("build", "toy", "--release", "r1", "--set", "epochs=1", "--gate", str(gate))
    result = invoke(*asked, "--json")
    assert result.exit_code == 3
    assert "floor: test auc" in result.stderr
    assert json.loads(result.stdout)["verdict"] == "refused"
    assert not (tmp_path / "store" / "releases").exists()
    assert not (tmp_path / "store" / "models").exists()
    kept = invoke(*asked, "--publish-refused", "--json")
    assert kept.exit_code == 0, kept.output
    assert json.loads(kept.stdout)["verdict"] == "refused"
    assert not (tmp_path / "store" / "routes").exists(), "it must not answer"
    assert "the gate refused it" in invoke("promote", "score-risk/r1", "--unproven").stderr


def test_an_empty_store_says_so(invoke) -> None:
    result = invoke("releases", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no release" in result.stderr


def test_shows_a_release(first) -> None:
    line, _ = first
    shown = line("releases", "show", "score-risk/r1").stdout
    assert shown.startswith("# score-risk/r1")
    assert max(map(len, shown.splitlines())) > 80, "a table's rows must stay whole when piped"
    found = json.loads(line("releases", "show", "score-risk/r1", "--json").stdout)
    assert found["release"] == "r1"
    assert found["files"]


@pytest.mark.parametrize(
    ("name", "exit_code"), [("score-risk", 2), ("score-risk/", 2), ("score-risk/none", 1)]
)
def test_a_release_that_is_not_there_is_an_error(invoke, name: str, exit_code: int) -> None:
    result = invoke("releases", "show", name)
    assert result.exit_code == exit_code
    assert name in result.stderr


def test_lists_the_data_sets_and_where_they_are(invoke) -> None:
    def where() -> dict[str, str]:
        found = json.loads(invoke("data", "list", "--json").stdout)["data"]
        return {row["name"]: row["where"] for row in found}

    assert where()["breast-cancer"] == "not here"
    fetched = invoke("data", "fetch", "breast-cancer", "--json")
    assert fetched.exit_code == 0
    assert "breast-cancer is in" in fetched.stderr
    (row,) = json.loads(fetched.stdout)["data"]
    assert (Path(row["folder"]) / "breast-cancer.csv").is_file()
    assert where()["breast-cancer"] == "cache"
    assert where()["generated-credit"] == "made on the spot"
    assert "movielens-latest-small" in invoke("data", "list").stdout


def test_fetches_nothing_if_one_name_is_wrong(invoke, tmp_path) -> None:
    result = invoke("data", "fetch", "breast-cancer", "brest-cancer")
    assert result.exit_code == 2
    assert "Did you mean breast-cancer" in result.stderr
    assert not (tmp_path / "cache").exists()


def test_our_own_tasks_can_be_named() -> None:
    context = click.Context(cli, obj=Tasks())
    assert TaskName().convert("risk", None, context) == "risk"


def test_routes_of_others_are_not_shown_as_ours(after_first) -> None:
    store = ReleaseStore(after_first.folder / "store")
    lines = {"recommend": (RouteTarget(release="x"),)}
    store.add_routes(Routes(lines=lines), after=store.routes()[0])
    found = json.loads(after_first("releases", "list", "--json").stdout)["releases"]
    assert [(row["release"], row["weight"]) for row in found] == [("score-risk/r1", 0.0)]


def test_a_build_that_goes_on_from_what_is_not_there_is_refused(invoke) -> None:
    result = invoke("build", "toy", "--from", "score-risk")
    assert result.exit_code == 2
    assert "--from: must be LINE/RELEASE, got 'score-risk'" in result.output
    result = invoke("build", "toy", "--from", "score-risk/none")
    assert result.exit_code == 1
    assert "score-risk/none" in result.output


def test_a_release_without_weights_cannot_be_gone_on_from(first) -> None:
    line, _ = first
    result = line("build", "toy", "--from", "score-risk/r1")
    assert result.exit_code == 2
    assert "cannot go on from score-risk/r1: it has no network.safetensors" in result.output

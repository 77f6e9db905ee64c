from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fake_runner import FakeRunner, RecordingTracing, route
from manifests import FEATURES, manifest, timed
from server_thread import served
from small_tokenizer import tokenizer_json
from span_makers import spans_in

from gateway.call_cli import call
from gateway.telemetry.building import build_tracing
from gateway.telemetry.tracing import Tracing
from triton_models.images import encode_png, sniffed
from triton_models.note_tokenizers import TOKENIZERS

Call = Callable[..., Result]


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """The file that the client and the gateway share."""
    return tmp_path / "traces.jsonl"


@pytest.fixture
def runner() -> FakeRunner:
    """Serves a release of each line."""
    return FakeRunner()


@pytest.fixture
def tracing(traces: Path) -> Tracing:
    """The gateway's."""
    return build_tracing(traces_file=traces, environment={})


@pytest.fixture
def target(runner: FakeRunner, tracing: Tracing) -> Iterator[str]:
    """A gateway that serves."""
    with served(runner, tracing) as address:
        yield address
    tracing.shutdown()


@pytest.fixture
def called(target: str, traces: Path) -> Call:
    """Runs `gateway call …` against it."""

    def run(*words: str) -> Result:
        options = ["--target", target, "--traces", str(traces)]
        return CliRunner(env={"COLUMNS": "100"}).invoke(call, [*words, *options])

    return run


def asked(runner: FakeRunner, name: str) -> Any:
    """The first row of a tensor of the last inference."""
    return runner.asked[-1].tensors[name][0]


def texts(row: Sequence[Any]) -> list[str]:
    return [one.decode() if isinstance(one, bytes) else one for one in row]


def test_a_recommendation_is_a_table_with_titles(called: Call, tmp_path: Path) -> None:
    titles = tmp_path / "movies.csv"
    titles.write_text(
        'movieId,title,genres\nm1,"Matrix, The (1999)",Action\nm3,Alien [1979],Horror\n'
    )
    result = called("recommend", "--history", "m1,zz", "--count", "2", "--titles", str(titles))
    assert result.exit_code == 0, result.output
    assert "History: Matrix, The (1999) (m1), zz" in result.stdout
    assert "Alien [1979]" in result.stdout
    assert result.stdout.count("Matrix, The (1999)") == 3  # the history and two becauses
    assert "50.0 %" in result.stdout
    assert "Not in the catalogue: zz" in result.stdout
    assert "By recommend/r1 (ensemble)" in result.stdout


def test_every_option_of_recommend_reaches_the_model(called: Call, runner: FakeRunner) -> None:
    words = ("--history", "m1, m2", "--history", "m3", "--count", "2", "--candidates", "m4,m5",
             "--exclude", "m4", "--history-allowed", "--user", "u7")  # fmt: skip
    result = called("recommend", *words, "--json")
    assert result.exit_code == 0, result.output
    assert texts(asked(runner, "history_item_ids"))[-3:] == ["m1", "m2", "m3"]
    assert texts(asked(runner, "candidate_item_ids")) == ["m4", "m5"]
    assert texts(asked(runner, "excluded_item_ids")) == ["m4"]
    assert asked(runner, "item_count")[0] == 2
    assert asked(runner, "history_allowed")[0]


def test_times_are_sent_as_people_write_them(called: Call, runner: FakeRunner) -> None:
    runner.states = [route(timed(manifest("recommend")))]
    words = ("--history", "m1,m2,m3,m4", "--times", "2026-11-26T03:00:00.9, 0,1795662000",
             "--times", "2026-11-26T03:00+01:00", "--at", "1795662060")  # fmt: skip
    result = called("recommend", *words)
    assert result.exit_code == 0, result.output
    assert asked(runner, "history_times")[-4:].tolist() == [
        1795662000, 0, 1795662000, 1795658400,
    ]  # fmt: skip
    assert asked(runner, "request_time")[0] == 1795662060
    before = int(time.time())
    assert called("recommend", "--at", "now").exit_code == 0
    assert before <= asked(runner, "request_time")[0] <= time.time()


@pytest.mark.parametrize("words", [("--times", "noon"), ("--at", "-5"), ("--at", "9" * 20)])
def test_what_is_no_time_is_a_wrong_option(words: tuple[str, str], called: Call) -> None:
    result = called("recommend", "--history", "m1", *words)
    assert result.exit_code == 2
    assert words[0] in result.stderr
    assert "ISO 8601" in result.stderr


def test_a_context_is_sent_by_the_schema_and_what_was_changed_is_said(
    called: Call, runner: FakeRunner
) -> None:
    runner.states = [route(manifest("recommend", features=FEATURES[1:]))]
    result = called("recommend", "--context", "amount=1e6", "--context", "housing=rent")
    assert result.exit_code == 0, result.output
    assert asked(runner, "numbers")[0] == 1e6
    assert texts(asked(runner, "categories"))[0] == "rent"
    assert "amount" in result.stdout


def test_a_context_that_the_release_does_not_read_is_refused(called: Call) -> None:
    result = called("recommend", "--context", "amount=1")
    assert result.exit_code == 1
    assert 'context["amount"]' in result.stderr


def test_without_a_history_a_recommendation_is_given_too(called: Call) -> None:
    assert called("recommend").exit_code == 0


def test_json_is_one_object_of_protobuf_json_and_nothing_else(called: Call) -> None:
    result = called("recommend", "--history", "m1", "--json")
    answer = json.loads(result.stdout)
    assert answer["model"] == {"line": "recommend", "release": "r1", "variant": "ensemble"}
    assert answer["items"][0]["because_item_ids"] == ["m1"]


@pytest.mark.parametrize("command", ["diagnose", "score-risk"])
def test_an_example_is_made_from_the_schema_and_accepted(command: str, called: Call) -> None:
    result = called(command, "--example", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["model"]["release"] == "r1"


def test_a_diagnosis_shows_findings_and_what_speaks_for_the_first(called: Call) -> None:
    result = called("diagnose", "--example", "--explain", "mean radius=21.5")
    assert result.exit_code == 0, result.output
    assert "99.8 %" in result.stdout
    assert "What speaks for 'malignant'" in result.stdout
    assert "21.5" in result.stdout
    assert "By diagnose-measurements/r1" in result.stdout


def test_an_image_is_sent_and_explained_by_a_picture(
    called: Call, runner: FakeRunner, tmp_path: Path
) -> None:
    runner.states = [route(manifest("diagnose-image"))]
    image, where = tmp_path / "xray.png", tmp_path / "where.png"
    image.write_bytes(encode_png(np.full((16, 16), 204, np.uint8)))
    result = called("diagnose", "--image", str(image), "--saliency", str(where))
    assert result.exit_code == 0, result.output
    assert "80.0 %" in result.stdout
    assert "shows where 'malignant' is seen" in result.stdout
    assert asked(runner, "pixels").shape == (8, 8, 1)
    assert sniffed(where.read_bytes()) == ("image/png",)


def test_a_file_that_is_no_image_is_not_sent(called: Call, tmp_path: Path) -> None:
    text = tmp_path / "xray.png"
    text.write_text("no picture")
    result = called("diagnose", "--image", str(text))
    assert result.exit_code == 1
    assert "is none of image/png, image/jpeg, application/dicom" in result.stderr


@pytest.fixture
def notes(runner: FakeRunner) -> Iterator[FakeRunner]:
    """Serves a release for notes, whose tokenizer is known."""
    release = manifest("diagnose-note")
    TOKENIZERS.add(release, tokenizer_json())
    runner.states = [route(release)]
    yield runner
    TOKENIZERS.forget(release)


def test_a_note_is_sent_and_explained_word_by_word(called: Call, notes: FakeRunner) -> None:
    result = called("diagnose", "--note", "Fever, my headache", "--explain")
    assert result.exit_code == 0, result.output
    assert "in the order of the note" in result.stdout
    words = [line.split()[0] for line in result.stdout.splitlines() if "+" in line]
    assert words == ["Fever", ",", "my", "headache"]
    assert asked(notes, "token_ids").shape == (7,)


def test_a_note_that_was_cut_is_said_to_be(called: Call, notes: FakeRunner) -> None:
    result = called("diagnose", "--note", "fever cough " * 9)
    assert "Note: note was longer than the release reads: its end was cut off" in result.stdout


def test_a_note_is_read_from_standard_input(target: str, traces: Path, notes: FakeRunner) -> None:
    options = ["--target", target, "--traces", str(traces)]
    runner = CliRunner(env={"COLUMNS": "100"})
    result = runner.invoke(call, ["diagnose", "--note", "-", *options], input="fever\n")
    assert result.exit_code == 0, result.output
    assert asked(notes, "token_ids").shape == (3,)


def test_a_note_and_other_evidence_are_not_sent_together(called: Call) -> None:
    result = called("diagnose", "--note", "fever", "mean radius=3")
    assert result.exit_code == 2
    assert "give one of --image, --note and measurements" in result.stderr


def test_an_image_and_measurements_are_not_sent_together(called: Call, tmp_path: Path) -> None:
    image = tmp_path / "xray.png"
    image.write_bytes(encode_png(np.zeros((8, 8), np.uint8)))
    assert called("diagnose", "--image", str(image), "mean radius=3").exit_code == 2
    assert called("diagnose", "--saliency", "where.png", "mean radius=3").exit_code == 2


def test_measurements_come_from_files_options_and_arguments(
    called: Call, runner: FakeRunner, tmp_path: Path
) -> None:
    patient = tmp_path / "patient.json"
    patient.write_text('{"mean radius": 12.5, "mean texture": null, "smoothness": 0.9}')
    result = called("diagnose", "--measurements", str(patient), "--measurements",
                    "mean texture=20", "smoothness=0.1")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert asked(runner, "numbers").tolist() == pytest.approx([12.5, 20, 0.1])


def test_the_schema_decides_what_is_a_number_and_what_a_category(
    called: Call, runner: FakeRunner
) -> None:
    result = called("score-risk", "age=30", "housing=rent", "--features", "status=2")
    assert result.exit_code == 0, result.output
    assert asked(runner, "numbers")[0] == 30
    assert asked(runner, "numbers")[2] == 2
    assert texts(asked(runner, "categories"))[0] == "rent"


def test_a_risk_shows_its_score_reasons_units_and_notes(called: Call) -> None:
    result = called("score-risk", "age=95", "housing=rent")
    assert result.exit_code == 0, result.output
    for shown in ("probability of default", "300–850", "housing", "rent", "Housing is rent",
                  "Note: age was above the known range: its maximum was used"):  # fmt: skip
        assert shown in result.stdout


def test_reasons_can_be_none(called: Call) -> None:
    answer = json.loads(called("score-risk", "--example", "--reasons", "0", "--json").stdout)
    assert "reasons" not in answer


def test_every_violation_is_a_line(called: Call) -> None:
    result = called("score-risk", "age=old", "housing=castle", "nonsense=1")
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert any(line.startswith("Error: INVALID_ARGUMENT (INVALID_REQUEST)") for line in lines)
    paths = [line.split(": ")[0] for line in lines if line.startswith("  ")]
    assert sorted(paths) == [
        '  features["age"].category',
        '  features["housing"].category',
        '  features["nonsense"]',
    ]


def test_a_single_violation_is_said_once(called: Call) -> None:
    result = called("score-risk", "age=40", "housing=own", "nonsense=1")
    assert result.exit_code == 1
    assert result.stderr.count('features["nonsense"]') == 1


def test_a_line_that_does_not_serve_says_when_to_try_again(traces: Path) -> None:
    runner = FakeRunner()
    runner.states = [route(manifest("recommend"), serving=False, detail="Triton is away")]
    with served(runner) as target:
        result = CliRunner().invoke(
            call, ["recommend", "--target", target, "--traces", str(traces)]
        )
    assert result.exit_code == 1
    assert "Error: UNAVAILABLE (MODEL_UNAVAILABLE): " in result.stderr
    assert "The model of 'recommend' is not available" in result.stderr
    assert "  Try again in 1 s." in result.stderr


def test_models_lists_what_is_served_and_why_something_is_not(traces: Path) -> None:
    runner = FakeRunner()
    down = route(manifest("score-risk"), serving=False, detail="output 'x' is [2]")
    runner.states = [route(manifest("recommend")), down]
    with served(runner) as target:
        result = CliRunner(env={"COLUMNS": "80"}).invoke(
            call, ["models", "--target", target, "--no-trace"]
        )
    assert result.exit_code == 0, result.output
    assert "recommend/r1" in result.stdout
    assert "auc 0.800" in result.stdout
    assert "score-risk/r1 does not serve: output 'x' is [2]" in result.stdout


def test_models_of_a_domain_shows_its_schema_and_metrics(called: Call) -> None:
    result = called("models", "--domain", "risk")
    assert result.exit_code == 0, result.output
    for shown in ("score-risk/r1", "18 to 90", "years", "own", "rent", "free", "1, 2, 3", "refuse",
                  "0.7000 – 0.9000", "A from 700"):  # fmt: skip
        assert shown in result.stdout
    assert json.loads(called("models", "--domain", "risk", "--json").stdout)["model"]["features"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("models", "--domain", "risk", "--release", "zz"), "NOT_FOUND (MODEL_NOT_FOUND)"),
        (("models", "--domain", "diagnose", "--line", "score-risk"), "INVALID_ARGUMENT"),
        (("diagnose", "mean radius=wide"), "measurement 'mean radius': 'wide' is no number"),
        (("score-risk", "nowhere.json"), "'nowhere.json' is neither a file nor name=value"),
        (("recommend", "--count", "101"), "item_count: must be in [0, 100], got 101"),
    ],
)
def test_what_cannot_be_is_said_with_exit_code_1(
    words: tuple[str, ...], said: str, called: Call
) -> None:
    result = called(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("diagnose",),
        ("score-risk",),
        ("models", "--release", "r1"),
        ("recommend", "--count", str(2**31)),
        ("score-risk", "--example", "--reasons", str(-(2**31) - 1)),
        ("recommend", "--deadline", "0"),
    ],
)
def test_wrong_usage_has_exit_code_2(words: tuple[str, ...], called: Call) -> None:
    assert called(*words).exit_code == 2


def test_where_nothing_listens_one_line_says_what_to_start(traces: Path) -> None:
    options = ["--target", "127.0.0.1:1", "--traces", str(traces)]
    result = CliRunner().invoke(call, ["models", *options])
    assert result.exit_code == 1
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("Error"))
    assert "nothing answers at 127.0.0.1:1" in line
    assert "gateway serve --embedded" in line


def test_a_deadline_that_passes_is_said(runner: FakeRunner, called: Call) -> None:
    runner.hold()
    result = called("recommend", "--deadline", "0.2")
    assert result.exit_code == 1
    assert "did not answer within 0.2 s" in result.stderr or "DEADLINE_EXCEEDED" in result.stderr


def test_one_call_is_one_trace_from_the_client_to_the_gateway(
    called: Call, tracing: Tracing, traces: Path
) -> None:
    result = called("score-risk", "--example")
    tracing.shutdown()
    spans = spans_in(traces)
    assert {span["traceId"] for span in spans} == {result.stderr.split()[1]}
    (client,) = (span for span in spans if span["kind"] == 3)
    (server,) = (span for span in spans if span["kind"] == 2)
    assert server["parentSpanId"] == client["spanId"]
    assert client["name"] == server["name"] == "trident.risk.v1.RiskService/ScoreRisk"
    assert '"stringValue":"trident-client"' in traces.read_text()


def test_the_client_span_of_a_refusal_is_an_error_and_the_servers_is_not(
    called: Call, tracing: Tracing, traces: Path
) -> None:
    called("recommend", "--count", "101")
    tracing.shutdown()
    statuses = {span["kind"]: span.get("status") for span in spans_in(traces)}
    assert statuses[3]["code"] == 2
    assert statuses[2] is None


def test_no_trace_means_none_anywhere(called: Call, tracing: Tracing, traces: Path) -> None:
    result = called("score-risk", "--example", "--no-trace")
    tracing.shutdown()
    assert result.exit_code == 0
    assert result.stderr == ""
    assert not traces.exists()


def test_asking_for_the_schema_is_not_traced(runner: FakeRunner, traces: Path) -> None:
    tracing = RecordingTracing()
    with served(runner, tracing) as target:
        options = ["--target", target, "--traces", str(traces)]
        CliRunner().invoke(call, ["score-risk", "--example", *options])
    flags = {
        one.method.rpartition("/")[2]: one.metadata["traceparent"][-2:] for one in tracing.calls
    }
    assert flags["GetModel"] == "00"
    assert int(flags["ScoreRisk"], 16) & 1

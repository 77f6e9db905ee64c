from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from model_builder.cli import cli


@pytest.fixture(scope="module")
def invoke(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def run(*arguments):
        environment = {"TRIDENT_CACHE_DIR": str(cache), "TRIDENT_DATA_DIR": "",
                       "COLUMNS": "160"}  # fmt: skip
        return CliRunner().invoke(cli, ["data", *arguments], env=environment)

    return run


def test_people_see_what_is_in_a_table(invoke):
    result = invoke("check", "generated-credit")
    assert result.exit_code == 0, result.output
    for part in ("generated-credit: table of 2000 rows (1600 train, 400 test)", "income",
                 "split sha256", "most different", "of an earlier row"):  # fmt: skip
        assert part in result.stdout, part


def test_people_see_what_is_in_a_log(invoke):
    text = invoke("check", "generated-interactions").stdout
    assert "generated-interactions: log of" in text
    assert "test targets never learnt from" in text


def test_json_is_one_object(invoke):
    found = json.loads(invoke("check", "generated-credit", "--json").stdout)
    assert found["usable"] is True
    assert found["duplicates"] == {"rows": 0, "conflicting": 0, "across_splits": 0}
    assert len(found["drift"]) == 7
    again = json.loads(invoke("check", "generated-credit", "--json", "--seed", "1").stdout)
    assert found["sha256"] == again["sha256"]
    assert found["split_sha256"] != again["split_sha256"]


def test_data_that_cannot_be_used_ends_with_1_and_every_reason(invoke, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,bad\n" + "".join(f"{i},{i % 2}\n" for i in range(30)) + "wide,0\n")
    result = invoke("check", str(path))
    assert result.exit_code == 1
    assert "expected a number, found 'wide'" in " ".join(result.stdout.split())


def test_a_warning_ends_with_1_only_if_it_shall(invoke, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("same,x,bad\n" + "".join(f"1,{i},{i % 2}\n" for i in range(40)))
    assert invoke("check", str(path)).exit_code == 0
    assert invoke("check", str(path), "--strict").exit_code == 1


def test_the_task_decides_what_a_label_must_be(invoke, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,kind\n" + "".join(f"{i},{'abc'[i % 3]}\n" for i in range(60)))
    assert invoke("check", str(path)).exit_code == 0
    assert invoke("check", str(path), "--task", "risk").exit_code == 1


def test_the_schema_is_what_a_build_would_publish(invoke):
    found = json.loads(invoke("schema", "generated-credit", "--json").stdout)
    assert [feature["name"] for feature in found["features"]][:2] == ["income", "amount"]
    assert found["labels"] == ["0", "1"]
    text = invoke("schema", "generated-credit").stdout
    assert "business, car, education, furniture" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere"], "there is no file and no data set 'nowhere'"),
        (["check", "generated-credit", "--split", "time"], "needs a split_column"),
        (["schema", "generated-interactions"], "a log of interactions has no features"),
    ],
)
def test_what_is_asked_wrongly_exits_with_2(invoke, arguments, message):
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr


def test_a_schema_is_written_beside_the_data_and_read_by_the_next_look(invoke, tmp_path):
    path = tmp_path / "loans.csv"
    path.write_text("debt,sex,bad\n" + "".join(f"{i},{'mf'[i % 2]},{i // 7 % 2}\n"
                                             for i in range(80)))  # fmt: skip
    result = invoke("schema", str(path), "--label", "bad", "--task", "risk", "--write")
    assert result.exit_code == 0, result.output
    schema = tmp_path / "loans.schema.yaml"
    text = schema.read_text()
    for part in ("label: bad", "protected: true", "type: quantity", "# What the columns hold"):
        assert part in text
    before = invoke("schema", str(path), "--json").stdout
    schema.write_text(text.replace("type: quantity", "type: quantity\n    unit: EUR"))
    after = json.loads(invoke("schema", str(path), "--json").stdout)
    assert after["features"][0]["unit"] == "EUR"
    assert json.loads(before)["features"][1] == after["features"][1]
    again = invoke("schema", str(path), "--write")
    assert again.exit_code == 2
    assert "may have been edited" in again.stderr
    assert "unit: EUR" in schema.read_text()


def test_a_folder_has_its_schema_beside_it(invoke, tmp_path):
    folder = tmp_path / "loans.2026"
    folder.mkdir()
    (folder / "part.csv").write_text(
        "debt,bad\n" + "".join(f"{i},{i // 7 % 2}\n" for i in range(80))
    )
    result = invoke("schema", str(folder), "--task", "risk", "--write")
    assert result.exit_code == 0, result.output
    schema = tmp_path / "loans.2026.schema.yaml"
    schema.write_text(schema.read_text().replace("maximum: 79", "maximum: 60"))
    found = json.loads(invoke("schema", str(folder), "--json").stdout)
    assert found["features"][0]["maximum"] == 60

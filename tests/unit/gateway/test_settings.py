from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway import settings as settings_module
from gateway.settings import DEFAULT_TRACES_FILE, InvalidSettings, Settings, load_settings

pytestmark = pytest.mark.usefixtures("clean_environment")


def load(config: Path | None = None, /, **options: Any) -> Settings:
    return load_settings(config, {"embedded": True, "insecure": True} | options)


def violations(config: Path | None = None, /, **options: Any) -> dict[str, str]:
    with pytest.raises(InvalidSettings) as caught:
        load(config, **options)
    return caught.value.violations


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "gateway.yaml"


def test_only_triton_must_be_named() -> None:
    settings = load()
    assert (settings.listen, settings.store) == ("127.0.0.1:50051", "triton_models/store")
    assert (settings.triton, settings.variant) == ((), "auto")


def test_what_may_throttle_a_load_that_is_none_too_large_is_off_unless_it_is_asked_for() -> None:
    settings = load()
    assert (settings.adaptive_limit, settings.hedging) == (False, False)
    assert load(adaptive_limit=True).adaptive_limit


def test_command_line_beats_environment_beats_file_beats_default(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("listen: file:1\nstore: file\nmax_waiting: 3\n")
    monkeypatch.setenv("TRIDENT_LISTEN", "environment:1")
    monkeypatch.setenv("TRIDENT_STORE", "environment")
    settings = load(config, listen="command-line:1")
    assert settings.listen == "command-line:1"
    assert settings.store == "environment"
    assert settings.max_waiting == 3
    assert settings.max_in_flight == 64


def test_an_option_that_was_not_given_hides_nothing(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("embedded: true\nstore: file\n")
    monkeypatch.setenv("TRIDENT_VARIANT", "fused")
    settings = load(config, embedded=None, store=None, variant=None)
    assert (settings.embedded, settings.store, settings.variant) == (True, "file", "fused")


def test_every_violation_is_told_at_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("trace_sample_ratio: 1.5\nmax_waiting: -1\n")
    monkeypatch.setenv("TRIDENT_MAX_IN_FLIGHT", "many")
    with pytest.raises(InvalidSettings) as caught:
        load(config, listen="nowhere", store="", variant="fast")
    assert caught.value.violations.keys() == {
        "listen", "store", "variant", "trace_sample_ratio", "max_waiting", "max_in_flight"
    }  # fmt: skip
    lines = str(caught.value).splitlines()
    assert lines[0] == "Invalid settings:"
    assert "  store: must not be empty" in lines
    assert len(lines) == 7


@pytest.mark.parametrize("value", ["localhost:50051", "0.0.0.0:0", "[::1]:65535", "a.b-c:1"])
def test_an_address_is_host_and_port(value: str) -> None:
    assert load(listen=value).listen == value


@pytest.mark.parametrize(
    "value",
    ["", "50051", ":50051", "localhost", "localhost:", "localhost:65536", "::1:50051", "a b:1",
     "http://a:1", "a:1x", "a:-1", "a:1\n"],
)  # fmt: skip
def test_anything_else_is_refused_as_it_was_given(value: str) -> None:
    assert violations(listen=value) == {
        "listen": f"must be HOST:PORT with a port in [0, 65535], got {value!r}"
    }


def test_a_triton_is_never_at_port_zero() -> None:
    assert violations(embedded=None, triton=("a:0",)) == {
        "triton": "must be HOST:PORT with a port in [1, 65535], got 'a:0'"
    }


def test_several_tritons_are_named_one_by_one_or_with_commas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load(embedded=None, triton=("a:1", "b:2")).triton == ("a:1", "b:2")
    monkeypatch.setenv("TRIDENT_TRITON", "a:1, b:2,")
    assert load(embedded=None).triton == ("a:1", "b:2")


def test_the_file_names_tritons_as_a_list_or_with_commas(config: Path) -> None:
    config.write_text("triton: [a:1, b:2]\n")
    assert load(config, embedded=None).triton == ("a:1", "b:2")
    config.write_text("triton: 'a:1,b:2'\n")
    assert load(config, embedded=None).triton == ("a:1", "b:2")


def test_a_triton_that_is_named_twice_is_refused() -> None:
    assert violations(embedded=None, triton=("a:1", "a:1")) == {
        "triton": "names a Triton twice: a:1, a:1"
    }


def test_the_embedded_triton_and_another_exclude_each_other() -> None:
    assert violations(triton=("a:1",)) == {
        "triton": "give --embedded or --triton HOST:PORT, not both"
    }


def test_tls_is_for_other_tritons_than_the_embedded_one() -> None:
    given = {"triton_tls_ca": "ca.pem"}
    assert violations(**given) == {"embedded": "speaks no TLS: leave triton_tls_ca out"}
    assert load(**given, embedded=False, triton="127.0.0.1:8001").triton_tls_ca


def test_no_triton_at_all_is_refused() -> None:
    said = "give --embedded, or a Triton with --triton HOST:PORT; in a file, embedded or triton"
    assert violations(embedded=None) == {"triton": said}


def test_a_bad_flag_is_told_alone_and_not_taken_for_no_triton(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRIDENT_EMBEDDED", "perhaps")
    assert violations(embedded=None).keys() == {"embedded"}


def test_with_the_embedded_triton_traces_go_to_a_file_by_default() -> None:
    assert load().traces_file == DEFAULT_TRACES_FILE
    assert load(embedded=None, triton=("a:1",)).traces_file is None


@pytest.mark.parametrize("source", ["environment", "file", "command line"])
def test_an_empty_traces_file_means_none_in_any_case(
    source: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("traces_file: ''\n" if source == "file" else "")
    if source == "environment":
        monkeypatch.setenv("TRIDENT_TRACES_FILE", "")
    options = {"traces_file": ""} if source == "command line" else {}
    assert load(config, **options).traces_file is None


def test_signatures_can_only_be_required_where_they_can_be_checked() -> None:
    assert violations(require_signed=True) == {
        "require_signed": "needs public_key, to check the signatures with"
    }
    assert load(require_signed=True, public_key="sign.pub").require_signed


@pytest.mark.parametrize("name", ["otlp_endpoint", "public_key", "triton_log_file"])
def test_what_is_empty_is_not_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TRIDENT_{name.upper()}", "")
    assert getattr(load(), name) is None
    monkeypatch.setenv(f"TRIDENT_{name.upper()}", "x:1")
    assert str(getattr(load(), name)) == "x:1"


@pytest.mark.parametrize("name", ["keys_file", "jwt_keys", "tls_client_ca", "permissions_file"])
def test_what_says_who_may_call_is_never_empty(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TRIDENT_{name.upper()}", "")
    assert violations() == {name: "is empty: name a file, or leave it out"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("jwt_issuer", "https://issuer.test"), ("jwt_audience", "trident"), ("jwt_leeway_s", 5),
     ("jwt_algorithms", "EdDSA"), ("jwt_permissions_claim", "roles"), ("jwt_refresh_s", 60),
     ("jwt_permissions_prefix", "")],
)  # fmt: skip
def test_what_is_said_of_tokens_needs_the_keys_that_check_them(name: str, value: Any) -> None:
    assert violations(**{name: value}, keys_file="keys.yaml").keys() == {name}
    tokens = {"jwt_keys": "jwks.json", "jwt_issuer": "i", "jwt_audience": "a"}
    assert load(**tokens | {name: value}).asks_for_credentials


def test_permissions_need_something_that_says_who_calls() -> None:
    (text,) = violations(permissions_file="permissions.yaml").values()
    assert text == "needs one of keys_file, jwt_keys, tls_client_ca: else everybody may call"
    assert load(permissions_file="permissions.yaml", keys_file="keys.yaml").permissions_file


def test_what_needs_a_setting_that_is_wrong_is_not_told_as_well() -> None:
    given = {"jwt_keys": "http://a", "jwt_issuer": "i", "permissions_file": "p"}
    assert violations(**given).keys() == {"jwt_keys"}


def test_clients_with_limits_have_names_that_calls_have() -> None:
    limits = {"key:billing": {"rate": 1}, "2001:DB8::0:7": {"rate": 2}, "10.0.3.7": {"rate": 3}}
    named = Settings(embedded=True, client_limits=limits).client_limits
    assert list(named) == ["key:billing", "2001:db8::7", "10.0.3.7"]


@pytest.mark.parametrize("name", ["billing", "10.0.3.7:80", "ipv4:10.0.3.7", "key:", "Key:a"])
def test_a_client_with_limits_that_no_call_can_be_of_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="is no client: write"):
        Settings(embedded=True, client_limits={name: {"rate": 1}})


def test_a_queue_stands_after_a_second_unless_that_is_emptied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load().queue_stands_s == 1
    monkeypatch.setenv("TRIDENT_QUEUE_STANDS_S", "")
    assert load().queue_stands_s is None
    monkeypatch.setenv("TRIDENT_QUEUE_STANDS_S", "0")
    assert load().queue_stands_s == 0


def test_slow_calls_are_kept_unless_that_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().trace_keep_slower_s == 1
    monkeypatch.setenv("TRIDENT_TRACE_KEEP_SLOWER_S", "")
    assert load().trace_keep_slower_s is None
    monkeypatch.setenv("TRIDENT_TRACE_KEEP_SLOWER_S", "0")
    assert load().trace_keep_slower_s == 0


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("trace_sample_ratio", [0, 1], [-0.1, 1.1, "nan"]),
        ("trace_keep_slower_s", [0, 0.5], [-0.1, "nan"]),
        ("max_message_bytes", [1024], [1023]),
        ("max_concurrent_streams", [1, 100_000], [0, 100_001]),
        ("max_in_flight", [1], [0]),
        ("max_waiting", [0], [-1]),
        ("queue_stands_s", [0, 2.5], [-0.1, "nan"]),
        ("max_batch_wait_s", [0, 0.02], [-0.1, 1.5, "nan"]),
        ("max_stream_outstanding", [1], [0]),
        ("cache_bytes", [0], [-1]),
        ("cache_entries", [1], [0]),
        ("call_timeout_s", [0.1], [0, "nan"]),
        ("load_timeout_s", [0.1], [0]),
        ("ready_timeout_s", [0.1], [0]),
        ("grace_s", [0], [-1]),
        ("unload_after_s", [0], [-1]),
    ],
)
def test_numbers_have_bounds(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(load(**{name: value}), name) == value
    for value in bad:
        assert violations(**{name: value}).keys() == {name}, value


@pytest.mark.parametrize("value", [0, -1, 257, 1.5, "", "all", "1 2", True])
def test_workers_are_a_number_or_auto(value: Any) -> None:
    assert violations(workers=value) == {"workers": f"must be 'auto' or in [1, 256], got {value!r}"}


@pytest.mark.parametrize(
    ("cores", "embedded", "workers"), [(8, False, 8), (8, True, 4), (3, True, 1), (1, True, 1)]
)
def test_auto_is_a_worker_a_core_and_leaves_half_of_them_to_an_embedded_triton(
    cores: int, embedded: bool, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.settings.usable_cores", lambda: cores)
    how: dict[str, Any] = {} if embedded else {"embedded": None, "triton": "a:1"}
    assert load(workers="auto", **how).worker_count == workers


def test_one_worker_is_the_default_and_a_number_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load().worker_count == 1
    monkeypatch.setenv("TRIDENT_WORKERS", "3")
    assert load().worker_count == 3


def test_a_workers_settings_survive_as_json_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load(workers=2, traces_file="", max_waiting=7)
    worker = settings.of_worker(listen="a:1", triton=("b:2", "c:3"))
    assert (worker.embedded, worker.triton, worker.listen) == (False, ("b:2", "c:3"), "a:1")
    monkeypatch.setenv("TRIDENT_TRACES_FILE", "elsewhere")
    monkeypatch.setenv("TRIDENT_EMBEDDED", "true")
    again = Settings.model_validate_json(worker.model_dump_json())
    assert again.model_dump() == worker.model_dump()
    assert (worker.max_waiting, worker.traces_file, worker.worker_count) == (7, None, 1)


def test_a_name_that_no_setting_has_is_refused_in_a_file(config: Path) -> None:
    config.write_text("stroe: here\n")
    assert violations(config).keys() == {"stroe"}


def test_a_variable_of_another_program_of_ours_is_nothing_to_us(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRIDENT_DATA_DIR", "/data")
    load()


def test_an_empty_file_says_nothing(config: Path) -> None:
    config.write_text("")
    assert load(config).model_dump() == load().model_dump()


@pytest.mark.parametrize(
    "content",
    [b"listen: [", b"- listen\n", b"just text", b"listen: \xff\xfe", b"1: a:1\n"],
    ids=["no YAML", "a list", "a text", "no UTF-8", "a number as a name"],
)
def test_a_file_that_holds_no_settings_is_named(content: bytes, config: Path) -> None:
    config.write_bytes(content)
    ((where, what),) = violations(config).items()
    assert where == str(config)
    assert what
    assert "\n" not in what


def test_settings_never_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().listen = "a:1"


def test_a_worker_is_told_how_many_instances_the_embedded_triton_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings_module, "usable_cores", lambda: 2)
    triton = ("127.0.0.1:1",)

    def told(**given: Any) -> Any:
        settings = load_settings(None, given)
        return settings.of_worker(listen="127.0.0.1:1", triton=triton).triton_instances

    assert told(embedded=True) == 2
    assert told(embedded=True, triton_instances="3") == 3
    assert told(triton=triton) == "auto"


def test_what_is_known_of_the_tritons_is_read_as_people_write_it() -> None:
    given = {"triton": "a:1", "triton_profile": "tensorrt", "triton_gpu": "sm_90"}
    settings = load_settings(None, {**given, "triton_tensorrt": "10.13.3"})
    assert (settings.triton_gpu, settings.triton_tensorrt) == ("9.0", "10.13.3")
    none = load_settings(None, {**given, "triton_profile": "", "triton_gpu": ""})
    assert (none.triton_profile, none.triton_gpu) == ("", None)


def test_what_cannot_be_of_a_triton_is_named() -> None:
    with pytest.raises(InvalidSettings) as raised:
        load_settings(None, {"triton": "a:1", "triton_gpu": "H100", "triton_tensorrt": "new"})
    assert set(raised.value.violations) == {"triton_gpu", "triton_tensorrt"}


def test_the_embedded_triton_has_no_profile() -> None:
    with pytest.raises(InvalidSettings, match="the embedded one has no GPU"):
        load_settings(None, {"embedded": True, "triton_profile": "onnx-cuda"})

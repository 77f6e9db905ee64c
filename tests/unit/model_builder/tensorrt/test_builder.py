"""Up to the call into TensorRT: a stand-in writes down what it is told, as 10 and 11 take it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model_builder.tensorrt.builder import PythonCompiler
from model_builder.tensorrt.errors import CompileFailed, ToolMissing
from model_builder.tensorrt.options import CompileOptions
from triton_models.plans import Shapes

SHAPES = {"a": Shapes(least=(1, 3), usual=(8, 3), most=(64, 3))}


class FakeConfig:
    def __init__(self, calls: list[Any], cache_fits: bool) -> None:
        self._calls = calls
        self._cache_fits = cache_fits
        self._cache: bytes | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            self._calls.append((name, value))
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self._calls.append((name, *given))

    def create_timing_cache(self, content: bytes) -> bytes:
        return content

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache and not self._cache_fits:
            return False
        self._calls.append(("timings", cache))
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: (self._cache or b"") + b"+new")


class FakeTensorRT:
    """The module ``tensorrt``; ``calls`` is what it was told."""

    def __init__(
        self,
        version: str = "10.13.3.9",
        errors: tuple[Any, ...] = (),
        plan: bytes | None = b"plan",
        cache_fits: bool = True,
    ) -> None:
        self.__version__ = version
        self.calls: list[Any] = []
        self._plan, self._errors, self._cache_fits = plan, errors, cache_fits
        flags = {} if version.startswith("11") else {"STRONGLY_TYPED": 1}
        self.NetworkDefinitionCreationFlag = SimpleNamespace(**flags)
        self.BuilderFlag = SimpleNamespace(TF32="tf32", VERSION_COMPATIBLE="version")
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
        self.HardwareCompatibilityLevel = SimpleNamespace(AMPERE_PLUS="ampere+")
        self.Logger = type("Logger", (), {"WARNING": 2, "__init__": lambda self, level: None})

    def Builder(self, logger: Any) -> Any:  # noqa: N802
        calls = self.calls
        profile = SimpleNamespace(set_shape=lambda *given: calls.append(("shape", *given)))
        return SimpleNamespace(
            create_network=lambda flags: calls.append(("network", flags)) or "network",
            create_builder_config=lambda: FakeConfig(calls, self._cache_fits),
            create_optimization_profile=lambda: profile,
            build_serialized_network=lambda network, config: self._plan,
        )

    def OnnxParser(self, network: Any, logger: Any) -> Any:  # noqa: N802
        return SimpleNamespace(
            parse=lambda content: not self._errors,
            num_errors=len(self._errors),
            get_error=lambda place: self._errors[place],
        )


def made(trt: FakeTensorRT, **options: Any) -> bytes:
    return PythonCompiler(trt).compile("rank", b"onnx", SHAPES, CompileOptions(**options)).content


@pytest.mark.parametrize(("version", "flags"), [("10.13.3.9", 2), ("11.4.1.1", 0)])
def test_networks_are_strongly_typed_which_is_all_that_11_knows(version: str, flags: int) -> None:
    trt = FakeTensorRT(version)
    assert made(trt) == b"plan"
    assert ("network", flags) in trt.calls


def test_sizes_memory_and_full_precision_are_told() -> None:
    trt = FakeTensorRT()
    made(trt, workspace_mib=2)
    assert trt.calls[1:3] == [
        ("set_memory_pool_limit", "workspace", 2 << 20),
        ("clear_flag", "tf32"),
    ]
    assert ("shape", "a", (1, 3), (8, 3), (64, 3)) in trt.calls
    assert not any("flag" in call[0] and call[0] == "set_flag" for call in trt.calls)


def test_compatibility_is_told_where_it_is_asked_for() -> None:
    trt = FakeTensorRT()
    made(trt, hardware_compatible=True, version_compatible=True)
    assert ("set_flag", "version") in trt.calls
    assert ("hardware_compatibility_level", "ampere+") in trt.calls


def test_timings_are_read_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "timings"
    made(FakeTensorRT(), timing_cache=file)
    assert file.read_bytes() == b"+new"
    made(FakeTensorRT(), timing_cache=file)
    assert file.read_bytes() == b"+new+new"


def test_timings_of_another_gpu_are_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "timings"
    file.write_bytes(b"of an A100")
    made(FakeTensorRT(cache_fits=False), timing_cache=file)
    assert file.read_bytes() == b"+new"


def test_each_error_of_the_parser_is_named_with_its_node() -> None:
    errors = tuple(
        SimpleNamespace(
            node_name=lambda n=name: n, node_operator=lambda: "Det", desc=lambda: "no\nway"
        )
        for name in ("n0", "")
    )
    with pytest.raises(CompileFailed) as raised:
        made(FakeTensorRT(errors=errors))
    assert raised.value.reasons == ("n0 (Det): no way", "no way")


def test_a_builder_that_gives_nothing_is_an_error() -> None:
    with pytest.raises(CompileFailed, match="TensorRT gave none"):
        made(FakeTensorRT(plan=None))


def test_a_version_that_is_too_old_is_refused() -> None:
    with pytest.raises(ToolMissing, match=r"TensorRT 8\.6\.1 is too old, 10 is needed"):
        PythonCompiler(FakeTensorRT("8.6.1"))

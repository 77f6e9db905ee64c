"""The Dockerfiles, as far as that can be without docker: no image is built here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import Cluster
from containers import BIN
from dockerfile import Stage, read, words
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError
from rendered import CHART, PLANS, Chart, Rendered, containers

from gateway.settings import Settings

ROOT = CHART.parents[2]
DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
every_image = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)

LARGEST_MB = 250


def bake() -> dict[str, Any]:
    return dict(json.loads((ROOT / "docker-bake.json").read_text()))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gateway's environment."""
    return install("gateway", tmp_path_factory.mktemp("image"))


def install(image: str, folder: Path) -> Path:
    """Run an image's RUN in ``folder``, on nothing but what its COPY brings."""
    arguments, (build, _) = read(ROOT / "deploy" / "docker" / f"{image}.Dockerfile")
    bring(build, folder / "src")
    (command,) = build.all("RUN")
    # The cache of this machine saves the downloads.
    command = command.replace("/opt/trident", str(folder / "opt")).replace("--no-cache-dir", "")
    done = subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=folder / "src",
        env=os.environ | arguments | {"PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "opt"


def test_the_builder_installs_from_the_lock_and_starts(tmp_path: Path) -> None:
    home = install("builder", tmp_path)
    for asked in (["build", "--help"], ["data", "list"], ["compile", "--help"]):
        done = subprocess.run(
            [home / "bin" / "model-builder", *asked],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def bring(stage: Stage, source: Path) -> None:
    """Copy what a stage copies."""
    source.mkdir()
    for names, target in stage.copies():
        for name in names:
            place = source / target if target != "./" else source / Path(name).name
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "store", "*.egg-info")
                shutil.copytree(ROOT / name, place, ignore=ignored)
            else:
                shutil.copy(ROOT / name, place)


@every_image
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run(
        [BIN / "hadolint", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@every_image
def test_whatever_is_copied_exists_and_is_sent_to_the_builder(path: Path) -> None:
    _, stages = read(path)
    sources = [one for stage in stages for names, _ in stage.copies() for one in names]
    assert sources
    sent = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == one or source.startswith(f"{one}/") for one in sent), source


@every_image
def test_every_stage_that_is_copied_from_comes_before(path: Path) -> None:
    before: set[str] = set()
    for stage in read(path)[1]:
        for text in stage.all("COPY"):
            if found := re.match(r"--from=(\S+)", text):
                assert found[1] in before
        before.add(stage.name)


@every_image
def test_an_image_ends_as_the_user_that_the_chart_runs_it_as(path: Path, plain: Rendered) -> None:
    (user,) = read(path)[1][-1].all("USER")
    security = plain.one("Deployment", "gateway")["spec"]["template"]["spec"]["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"


def test_the_gateway_has_no_compiler() -> None:
    for stage in read(ROOT / "deploy" / "docker" / "gateway.Dockerfile")[1]:
        assert "-slim-" in stage.base
        assert not any("apt-get" in text or "gcc" in text for text in stage.all("RUN"))


def test_versions_come_from_one_place() -> None:
    variables = {name: one["default"] for name, one in bake()["variable"].items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert variables["VERSION"] == project["version"] == chart["appVersion"]
    for path in DOCKERFILES:
        for name, value in read(path)[0].items():
            assert variables.get(name, value) == value, path
    assert variables["PYTHON_VERSION"] == ".".join(map(str, sys.version_info[:2]))


def test_the_chart_asks_for_the_images_that_are_built(chart: Chart) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    wanted = {values[one]["image"]["repository"] for one in ("gateway", "triton", "builder")}
    job = chart.render(PLANS).one("Job", "plans")["spec"]["template"]
    wanted.add(containers(job)[0]["image"].rpartition("/")[2].partition(":")[0])
    tags = [tag for one in bake()["target"].values() for tag in one.get("tags", ())]
    assert wanted == {tag.removeprefix("${REGISTRY}/").partition(":")[0] for tag in tags}


def test_every_image_is_built_with_a_list_of_its_contents_and_its_origin() -> None:
    targets = bake()["target"]
    assert targets["common"]["attest"] == ["type=sbom", "type=provenance,mode=max"]
    for name in bake()["group"]["default"]["targets"]:
        assert targets[name]["inherits"] == ["common"]
        assert (ROOT / targets[name]["dockerfile"]).exists()


def test_the_gateways_programs_run_from_what_is_installed(installed: Path) -> None:
    done = subprocess.run(
        [installed / "bin" / "gateway", "serve", "--help"],
        capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--triton" in done.stdout


def test_the_gateway_needs_less_than_it_may(installed: Path) -> None:
    size = sum(one.stat().st_size for one in installed.rglob("*") if one.is_file())
    assert size / 1e6 < LARGEST_MB


def test_what_is_installed_is_what_the_lock_says(installed: Path) -> None:
    names = {one.name for one in (installed / "lib").glob("python3.*/site-packages/*.dist-info")}
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {
        re.sub(r"[-_.]+", "_", name).lower(): version
        for name, _, version in (line.partition("==") for line in lock)
        if version
    }
    own = {"trident", "trident_protos", "setuptools"}
    for one in names:
        name, version = one.removesuffix(".dist-info").rsplit("-", 1)
        key = re.sub(r"[-_.]+", "_", name).lower()
        assert key in own or pinned[key] == version, one


def test_the_health_check_passes_where_a_gateway_answers(cluster: Cluster) -> None:
    (check,) = read(ROOT / "deploy" / "docker" / "gateway.Dockerfile")[1][-1].all("HEALTHCHECK")
    program, *arguments = words(check)

    def healthy(port: str) -> bool:
        environment = os.environ | {"TRIDENT_METRICS_LISTEN": port}
        done = subprocess.run(
            [BIN / program, *arguments], env=environment, timeout=60, check=False,
            capture_output=True,
        )  # fmt: skip
        return done.returncode == 0

    assert healthy(cluster.gateway.places["0.0.0.0:9464"])
    assert not healthy("127.0.0.1:1")


def test_the_gateways_image_opens_to_others_only_if_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = read(ROOT / "deploy" / "docker" / "gateway.Dockerfile")[1][-1]
    (command,) = stage.all("CMD")
    serve, *options = words(command)
    assert serve == "serve"
    given = dict(zip(options[::2], options[1::2], strict=True))
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TRIDENT_{name.upper()}", raising=False)
    with pytest.raises(ValidationError, match="can be reached from other machines"):
        Settings(listen=given["--listen"], triton=("triton:8001",))
    monkeypatch.setenv("TRIDENT_INSECURE", "true")
    Settings(listen=given["--listen"], triton=("triton:8001",))


def test_commands_of_the_chart_are_programs_of_the_images(plain: Rendered) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, template in plain.pods():
        for container in containers(template):
            program = container["command"][0]
            assert program in {*scripts, "tritonserver"}, name


def installing() -> list[str]:
    """Extras of the project that some image installs, as the Dockerfiles and bake say."""
    given = [read(path)[0].get("EXTRAS", "") for path in DOCKERFILES]
    return [*given, *(one.get("args", {}).get("EXTRAS", "") for one in bake()["target"].values())]


def test_plans_install_as_the_builder_does_and_what_writes_precisions() -> None:
    """So the builder's step shows theirs, but for ModelOpt and the Python of NVIDIA's image."""
    steps = []
    for image in ("builder", "plans"):
        arguments, (build, *_) = read(ROOT / "deploy" / "docker" / f"{image}.Dockerfile")
        (command,) = (one for one in build.all("RUN") if "pip install" in one)
        steps.append((command.replace("python3 ", "python "), set(arguments["EXTRAS"].split(","))))
    (builder, its_extras), (plans, extras) = steps
    assert plans == builder
    assert extras - its_extras == {"precision"}


@pytest.mark.parametrize("extras", sorted({one for one in installing() if one}))
def test_whatever_an_image_installs_is_pinned(extras: str) -> None:
    """The steps of gateway and builder are run; of others at least nothing is left to chance."""
    lock = {
        canonicalize_name(line.partition("==")[0])
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(one for name in extras.split(",") for one in optional[name]),
    ]
    names = {canonicalize_name(Requirement(one).name) for one in wanted}
    assert names - lock - {"trident", "trident-protos"} == set()

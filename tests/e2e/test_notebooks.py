"""The notebooks run from top to bottom, and their plots show."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def test_every_task_has_a_notebook() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["diagnosis", "recsys", "risk"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


# Its kernel's client leaves sockets to the garbage collector.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_trains_evaluates_releases_and_calls(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    embedded_triton_available: None,
) -> None:
    monkeypatch.setenv("TRIDENT_NOTEBOOK_QUICK", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("TRIDENT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    if "TRIDENT_DATA_DIR" not in os.environ:
        monkeypatch.setenv("TRIDENT_DATA_DIR", "")
    notebook = nbformat.read(path, as_version=4)

    NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": EXAMPLES}}
    ).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2
    assert all(len(picture.data["image/png"]) > 3000 for picture in pictures)
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "Traceback" not in printed
    assert not list(tmp_path.glob("trident-triton-*"))  # Triton has ended with the gateway

"""The notebooks run on the samples from their first cell to the last, and are kept without outputs."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = [pytest.param(path, id=path.stem) for path in sorted(FOLDER.glob("*.ipynb"))]


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_no_output_is_kept(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert [cell["id"] for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_it_runs_without_an_error(path, tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="the extra `notebook` is not installed")
    client = pytest.importorskip("nbclient", reason="the extra `notebook` is not installed")
    pytest.importorskip("ipykernel", reason="the extra `notebook` is not installed")
    pytest.importorskip("altair", reason="the extra `report` is not installed")
    if "duckdb" in path.stem:
        pytest.importorskip("duckdb", reason="DuckDB is not installed")
        pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    notebook = nbformat.read(path, as_version=4)
    client.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(tmp_path))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert len(outputs) >= 3
    assert [output for output in outputs if output.get("name") == "stderr"] == []

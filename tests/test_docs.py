"""The pages say what is so: blocks run, the table is current, explained errors exist, links lead somewhere."""

import ast
import json
import pathlib
import re
from typing import Any

import jax
import matplotlib
import pytest
from matplotlib import cbook, pyplot
from PIL import Image

from fame_jax.data.images import sample_path
from scripts.build_docs import CONFIGURATION, DOCS, explainer_table, whole_text
from tests.documents import blocks, execute

matplotlib.use("agg")

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = sorted(DOCS.glob("*.md"))
NOTEBOOKS = sorted(DOCS.glob("*.ipynb"))


def page_name(path: pathlib.Path) -> str:
    return path.name


def named_in_navigation() -> list[str]:
    return re.findall(r": (\S+\.md)$", CONFIGURATION.read_text(), flags=re.MULTILINE)


def cells(notebook: pathlib.Path) -> list[dict[str, Any]]:
    return json.loads(notebook.read_text())["cells"]


@pytest.fixture
def folder(tmp_path, tmp_path_factory, monkeypatch):
    """What the pages take for granted: photographs, two portraits, labelled pairs, a home of one's own."""
    cat = Image.open(sample_path("cat")).convert("RGB")
    portrait = Image.open(sample_path("portrait")).convert("RGB")
    cat.save(tmp_path / "photo.jpg")
    for name in ("photos", "PHOTOGRAPHS"):
        (tmp_path / name).mkdir()
        cat.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / name / "one.jpg")
    portrait.save(tmp_path / "probe.jpg")
    portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "gallery.jpg")
    Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).save(tmp_path / "stranger.jpg")
    (tmp_path / "pairs.csv").write_text("G,P,T\ngallery.jpg,probe.jpg,1\ngallery.jpg,stranger.jpg,0\n")
    monkeypatch.setenv("FAME_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.thorough
@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_blocks_run_in_order(page, folder, drop_once_heavy):
    namespace = {"__name__": "page"}
    for block in blocks(page):
        if block.runs:
            execute(block, page.name, namespace)
            drop_once_heavy()


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=page_name)
def test_notebooks_run_from_top_to_bottom(notebook, folder):
    namespace = {"__name__": notebook.stem}
    for number, cell in enumerate(cells(notebook)):
        if cell["cell_type"] == "code":
            # Lines that begin with % are for Jupyter; no walk takes more than three steps.
            code = re.sub(r"^( *)%.*$", r"\1pass", "".join(cell["source"]), flags=re.MULTILINE)
            code = code.replace("STEPS = 20", "STEPS = 3").replace('"iterations": 50', '"iterations": 3')
            with jax.numpy_rank_promotion("allow"):
                exec(compile(code, f"{notebook.name}, cell {number}", "exec"), namespace)
    pyplot.close("all")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=page_name)
def test_notebooks_are_kept_without_what_they_printed(notebook):
    for cell in cells(notebook):
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_block_of_python_or_fame_runs_or_says_why_not(page):
    for block in blocks(page):
        if block.language == "python" or block.code.startswith("fame "):
            assert block.runs or block.reason, f"{page.name}, line {block.line}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_to_pages_of_the_site(page):
    known = {*named_in_navigation(), *(path.name for path in DOCS.iterdir())}
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        there = (DOCS / target).resolve().is_file() if target.startswith("..") else target in known
        assert there or target.startswith("https://"), f"{page.name} links to {target}"


def test_every_page_is_in_the_navigation_and_in_the_index_for_language_models():
    index = (DOCS / "llms.txt").read_text()
    for page in PAGES:
        assert page.name in named_in_navigation()
        assert page.name == "index.md" or f"({page.name})" in index


def test_models_of_every_kind_and_questions_of_every_kind_are_shown():
    code = "\n".join(block.code for block in blocks(DOCS / "use_my_model.md"))
    for words in ("def brightness", "nnx.Module", "flax.linen", "equinox", "haiku", "Split(", "detection", "query"):
        assert words in code


def test_table_of_explainers_is_current():
    assert explainer_table() in (DOCS / "choose_a_method.md").read_text(), f"\n{explainer_table()}"


def test_every_public_module_is_described_for_language_models():
    pytest.importorskip("ray")  # One of them needs it.
    text = whole_text()
    for package in ("fame_jax", "weight_conversion"):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            assert "._" in name or ".cli." in name or f"## {name}\n" in text, name


def messages() -> list[re.Pattern[str]]:
    """Every text of the code as a pattern, with its placeholders open; it may stand behind the name of a file."""
    found = []
    for package in ("fame_jax", "weight_conversion"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                words = [part.value if isinstance(part, ast.Constant) else None for part in parts]
                # A text that is hardly more than placeholders would fit anything.
                if sum(len(word) for word in words if isinstance(word, str)) > 15:
                    pattern = "".join(re.escape(word) if isinstance(word, str) else ".+?" for word in words)
                    found.append(re.compile(rf"(?:\S+: )?{pattern}", re.DOTALL))
    return found


def keyed_messages() -> list[str]:
    """The messages that the page on troubleshooting explains."""
    return [key for _, key in re.findall(r"^### (`+) ?(.+?) ?\1$", (DOCS / "troubleshooting.md").read_text(), re.M)]


def test_every_explained_error_occurs_in_the_code():
    patterns = messages()
    assert len(keyed_messages()) > 20
    for key in keyed_messages():
        assert any(pattern.fullmatch(key) for pattern in patterns), f"no error reads: {key}"


@pytest.mark.slow
def test_site_builds_without_a_warning(tmp_path):
    build = pytest.importorskip("mkdocs.commands.build")
    from mkdocs.config import load_config

    build.build(load_config(str(CONFIGURATION), site_dir=str(tmp_path)))
    for page in tmp_path.rglob("*.html"):
        fetched = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?://[^\">]+)", page.read_text())
        assert not fetched, f"{page.name} needs a network for {fetched}"

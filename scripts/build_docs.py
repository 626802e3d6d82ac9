"""Builds the site of the documentation from fame_jax/docs into build/docs; with --serve, shows it while you write.

MkDocs also calls the functions named `on_...` of this file: they add the pictures of the README and the reference
pages, one of every package, and write llms-full.txt, all pages in one file for language models.
"""

import contextlib
import importlib.util
import inspect
import io
import os
import pathlib
import pkgutil
import textwrap
import types
from collections.abc import Iterator, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "fame_jax" / "docs"
CONFIGURATION = ROOT / "scripts" / "mkdocs.yml"

# Pages show the README's pictures where they lie, so that they are seen in a browser of the repository too.
PICTURES = "../../.github/"

# Lines of code have up to 120 characters.
WIDE = ".md-grid { max-width: 76rem; }\n"

PACKAGES = {
    "fame_jax": "The loop, the losses and what else is not in a package of its own.",
    "explainers": "Functions of one image, or of two faces, that return maps in [0, 1].",
    "metrics": "How good is a map? Functions of finished maps, arrays and a callable.",
    "models": "The ported networks.",
    "data": "From files to images, faces and records.",
    "experiments": "Runs over whole data sets, and what is computed from them.",
    "weight_conversion": "From a publisher's file to converted weights.",
}
"""Reference pages and their first lines."""


def main(serve: bool = False) -> None:
    """Builds the site.

    Args:
        serve: show it at a local address and build anew whenever a page changes.
    """
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    from mkdocs.commands import build
    from mkdocs.commands import serve as server
    from mkdocs.config import load_config

    if serve:
        server.serve(str(CONFIGURATION))
    else:
        build.build(load_config(str(CONFIGURATION)))
        print(f"open {ROOT / 'build' / 'docs' / 'index.html'}")


def on_files(files: Any, config: Any) -> Any:
    """Adds what is not written by hand."""
    from mkdocs.structure.files import File

    for picture in sorted((ROOT / ".github").glob("*.png")):
        files.append(File.generated(config, f"pictures/{picture.name}", abs_src_path=str(picture)))
    for name, text in {**reference_pages(), "wide.css": WIDE}.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Pictures of the repository are part of the site."""
    return markdown.replace(PICTURES, "pictures/")


def on_post_build(config: Any) -> None:
    """Writes llms-full.txt."""
    pathlib.Path(config["site_dir"], "llms-full.txt").write_text(whole_text(), encoding="utf-8")


def explainer_table() -> str:
    """`EXPLAINERS` as a table, for choose_a_method.md."""
    from fame_jax.explainers import EXPLAINERS
    from fame_jax.words import markdown

    rows = [("`--method`", "title", "explains", "needs", "passes (forward + backward)", "source")]
    for name, row in EXPLAINERS.items():
        passes = {
            "classes": row.of_class and "{:,} + {:,}".format(*row.cost("class")),
            "pairs": row.of_pair and "{:,} + {:,} a pair".format(*row.cost("pair")),
        }
        known = {task: text for task, text in passes.items() if text}
        needs = ", ".join(sorted(row.needs)) or "nothing more"
        rows.append((f"`{name}`", row.title, ", ".join(known), needs, "; ".join(known.values()), row.source))
    return markdown(rows)


def reference_pages() -> dict[str, str]:
    """Path in the site and Markdown of every page made from the code."""
    pages = {f"reference/{page}.md": _reference(page, text) for page, text in PACKAGES.items()}
    return pages | {"reference/command_line.md": command_line()}


def public_modules(page: str) -> list[str]:
    """Dotted names of the modules on a reference page: those of a package, or what is on no other page of fame_jax."""
    if page == "fame_jax":
        return list(_modules("fame_jax", apart=(*PACKAGES, "cli")))
    return list(_modules(page if page == "weight_conversion" else f"fame_jax.{page}"))


def command_line() -> str:
    """What `fame COMMAND --help` says, for every command."""
    from fame_jax.cli.console import COMMANDS

    there = [name for name, (module, _, _) in COMMANDS.items() if importlib.util.find_spec(module)]
    return "\n".join(["# Command line\n", *(f"## fame {name}\n\n```text\n{_help(name)}\n```\n" for name in there)])


def whole_text() -> str:
    """All pages in the order of the navigation, then the public functions and classes with their docstrings."""
    pages = [(DOCS / name).read_text(encoding="utf-8") for name in written_pages()]
    return "\n\n".join([*pages, command_line(), *(_described(page) for page in PACKAGES)])


def written_pages() -> list[str]:
    """Names of the pages written by hand, in the order of the navigation."""
    lines = CONFIGURATION.read_text().split("nav:")[1].split("hooks:")[0].splitlines()
    named = [line.rsplit(": ", 1)[1] for line in lines if line.endswith(".md")]
    return [name for name in named if (DOCS / name).is_file()]


def _modules(package: str, apart: Sequence[str] = ()) -> Iterator[str]:
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        name = f"{package}.{module.name}"
        if module.ispkg and module.name not in apart:
            yield from _modules(name)
        elif not module.ispkg and not module.name.startswith("_"):
            yield name


def _help(command: str) -> str:
    from fame_jax.cli import main as fame

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        fame([command, "--help"])
    # Only the options are folded as in a terminal; the rest is one line a paragraph.
    lines = [[line] if line.startswith(" ") else textwrap.wrap(line, 80) for line in shown.getvalue().splitlines()]
    return "\n".join("\n".join(part.rstrip() for part in parts) for parts in lines).strip()


def _reference(page: str, text: str) -> str:
    directives = "\n\n".join(f"::: {module}" for module in public_modules(page))
    return f"# {page}\n\n{text}\n\n{directives}\n"


def _described(page: str) -> str:
    parts = [f"# Reference: {page}"]
    for name in public_modules(page):
        module = importlib.import_module(name)
        parts.append(f"## {name}\n\n{inspect.getdoc(module) or ''}")
        parts += [f"### {name}.{key}{_signature(value)}\n\n{inspect.getdoc(value)}" for key, value in _public(module)]
    return "\n\n".join(parts)


def _public(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Functions and classes that a module defines."""
    for name, value in vars(module).items():
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__:
            yield name, value


def _signature(value: Any) -> str:
    try:
        return str(inspect.signature(value))
    except (TypeError, ValueError):
        return ""


if __name__ == "__main__":
    import tyro

    tyro.cli(main)

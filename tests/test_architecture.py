"""The tree shows what the program is: imports point one way, and each heavy package has one place."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# What knows nothing of ours, and everybody may know.
GROUND = ("_types", "array_records", "files", "identity", "questions", "remote", "varying", "words")

# Who may import what of ours beside that, by the first matching prefix; a module always may from its own package.
MAY_IMPORT = {
    **{f"fame_jax.{name}": () for name in GROUND},
    "fame_jax.options": (),
    "fame_jax.image": ("options",),
    "fame_jax.held": (),
    "fame_jax.network": ("held", "options"),
    "fame_jax.scores": ("network", "options"),
    "fame_jax.hoist": (),
    "fame_jax.walk": ("hoist", "image", "network", "options"),
    "fame_jax.paths": ("network", "options", "walk"),
    "fame_jax.core": ("image", "options", "paths", "walk"),
    "fame_jax.losses": ("network", "scores"),
    "fame_jax.presets": ("image",),
    "fame_jax.batching": ("hoist", "options", "walk"),
    "fame_jax.explainers": ("image", "network", "options", "losses", "presets", "scores", "walk", "core", "paths"),
    "fame_jax.metrics": ("image", "network", "options", "scores"),
    "fame_jax.architectures": ("hoist", "network", "presets"),
    "fame_jax.models": (
        "architectures",
        "data.classes",
        "held",
        "image",
        "network",
        "onnx",
        "presets",
        "weight_conversion",
    ),
    "fame_jax.onnx": ("architectures", "image", "network", "options", "words"),
    "fame_jax.detection": ("data", "models", "network", "onnx", "options"),
    "fame_jax.data": (),
    "fame_jax.datasets": ("data",),
    "fame_jax.experiments": (
        "batching",
        "architectures",
        "core",
        "data",
        "datasets",
        "detection",
        "engine",
        "explainers",
        "image",
        "inputs",
        "losses",
        "metrics",
        "models",
        "network",
        "presets",
        "walk",
    ),
    "fame_jax.explaining": ("core", "detection", "explainers", "held"),
    "fame_jax.engine": (
        "architectures.probes",
        "batching",
        "core",
        "detection",
        "explaining",
        "explainers",
        "network",
        "options",
        "walk",
    ),
    "fame_jax.many": ("core", "engine", "explainers", "options"),
    "fame_jax.watching": ("batching", "core", "engine", "explainers", "explaining", "walk"),
    "fame_jax.app": (
        "architectures",
        "data",
        "detection",
        "engine",
        "explainers",
        "explaining",
        "inputs",
        "metrics",
        "models",
        "network",
        "plots",
        "report",
        "scores",
        "walk",
        "watching",
    ),
    "fame_jax.export": ("architectures.probes", "engine", "explainers"),
    "fame_jax.inputs": ("data", "detection", "models"),
    "fame_jax.bridges": ("batching", "engine", "explainers", "models.adapted", "network", "onnx"),
    "fame_jax.report": (
        "data",
        "datasets",
        "explainers",
        "experiments",
        "inputs",
        "metrics",
        "models",
        "plots",
        "walk",
    ),
    "fame_jax.plots": (),
    "fame_jax.parity": ("architectures", "losses", "walk", "weight_conversion"),
    "fame_jax.bench": ("losses", "models", "walk"),
    "fame_jax.paper": (
        "bench",
        "core",
        "data",
        "datasets",
        "experiments",
        "explainers",
        "inputs",
        "losses",
        "metrics",
        "models",
        "plots",
        "walk",
    ),
    "fame_jax.cli": ("*",),
    "fame_jax": ("*",),
    "weight_conversion": ("architectures",),
}

# Package: the modules of ours that may import it.
PLACES = {
    "flax": ("fame_jax.architectures", "fame_jax.models", "fame_jax.parity", "weight_conversion"),
    "orbax": ("fame_jax.models",),
    "torch": ("fame_jax.onnx.from_torch", "weight_conversion.twins"),
    "onnxscript": ("fame_jax.onnx.from_torch",),
    "torchvision": ("weight_conversion.twins",),
    "PIL": ("fame_jax.data", "fame_jax.report.encoded"),
    "matplotlib": ("fame_jax.plots", "fame_jax.paper", "fame_jax.cli", "fame_jax.app.pictures"),
    "keras": ("fame_jax.bridges",),
    "cv2": ("fame_jax.data.searching",),
    "onnx": ("fame_jax.models.graphs", "fame_jax.onnx", "weight_conversion"),
    "huggingface_hub": ("fame_jax.models.hub",),
    "safetensors": ("fame_jax.models.checkpoint",),
    "tensorstore": ("fame_jax.experiments", "fame_jax.models.checkpoint", "fame_jax.remote"),
    "pyarrow": ("fame_jax.experiments.tables",),
    "ray": ("fame_jax.experiments.cluster",),
    "tensorflow_datasets": ("fame_jax.array_records", "fame_jax.datasets.tfds"),
    "grain": ("fame_jax.array_records",),
    "array_record": ("fame_jax.array_records",),
    "jinja2": ("fame_jax.report",),
    "tyro": ("fame_jax.cli",),
    "tqdm": ("fame_jax.cli",),
}


BY_NAME = ("import_module", "__import__")


def modules() -> dict[str, ast.Module]:
    """Every module of the two packages by its dotted name."""
    found = {}
    for package in ("fame_jax", "weight_conversion"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text())
    return found


def imports(tree: ast.Module) -> set[str]:
    """Dotted names a module imports, at any depth, by whatever spelling that names it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and node.args and ast.unparse(node.func).split(".")[-1] in BY_NAME:
            # Literal text is the name; of an f-string, as much as is literal.
            texts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
            names |= {text.rstrip(".") for text in texts[:1] if isinstance(text, str)}
    return names


def inside(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


MODULES = modules()


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name: str):
    home = next(prefix for prefix in MAY_IMPORT if inside(name, prefix))
    allowed = (*GROUND, *MAY_IMPORT[home])
    for imported in imports(MODULES[name]):
        if inside(imported, "weight_conversion") and home != "weight_conversion":
            assert "weight_conversion" in allowed, f"{name} may not import weight_conversion"
        if not imported.startswith("fame_jax.") or inside(imported, home) or "*" in allowed:
            continue
        assert any(inside(imported, f"fame_jax.{part}") for part in allowed) or home == "fame_jax", (
            f"{name} may not import {imported}"
        )


@pytest.mark.parametrize(
    "code",
    [
        "import weight_conversion.names",
        "def late():\n    from weight_conversion import names",
        "importlib.import_module('weight_conversion.names')",
        "import_module('weight_conversion.names')",
        "__import__('weight_conversion.names')",
        "import_module(f'weight_conversion.names.{what}')",
    ],
)
def test_an_import_is_seen_by_any_spelling(code: str):
    assert any(inside(name, "weight_conversion.names") for name in imports(ast.parse(code)))


@pytest.mark.parametrize("package", PLACES)
def test_each_heavy_package_has_its_place(package: str):
    for name, tree in MODULES.items():
        if any(inside(imported, package) for imported in imports(tree)):
            assert any(inside(name, place) for place in PLACES[package]), f"{name} may not import {package}"


def test_no_two_files_of_tests_have_one_name():
    """pytest imports them by name alone and refuses the second."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.thorough
def test_every_public_room_is_reached_from_the_package():
    for name in ("batching", "bridges", "data", "explainers", "metrics", "models", "plots"):
        code = f"import fame_jax; print(fame_jax.{name}.__name__)"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert result.stdout.strip() == f"fame_jax.{name}"


def test_importing_fame_jax_needs_jax_jaxtyping_and_optax_alone():
    heavy = ("flax", "orbax", "PIL", "matplotlib", "skimage", "tqdm", "tyro", "torch", "cv2")
    code = f"import sys, fame_jax; print([m for m in {heavy!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

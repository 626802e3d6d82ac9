"""`fame reproduce`: every table and figure of the paper, from data of your own."""

import tyro

from fame_jax.cli.paper_figures import AccuracyCurves, LocationSheets, MethodSheets, Sweeps
from fame_jax.cli.paper_items import OF_FACES, Item
from fame_jax.cli.paper_tables import ScoredTable, Seconds

_CLASSIFIERS = ("resnet34", "resnet50", "resnet101", "vgg19", "convnext_tiny")
_FACES = ("iresnet18", "iresnet50", "iresnet101")
_OF_CLASSES = ("grad_cam", "grad_cam_ew", "hires_cam", "fullgrad", "fame")
_TWO, _FOUR = ("grad_cam_ew", "fame"), ("grad_cam", "fullgrad", "hires_cam", "fame")
_PAIRS = "genuine pairs of faces explained by five methods, with"

ITEMS: dict[str, tuple[Item, str]] = {
    "table_1": (
        ScoredTable(_CLASSIFIERS, number=1, methods=_OF_CLASSES),
        "IoU with the boxes and ROAD-Delete of five methods. Needs ImageNet's validation set with its boxes.",
    ),
    "table_2": (
        ScoredTable(_FACES, number=2, methods=OF_FACES),
        "areas under deletion and insertion of face verification. Needs ARface, SCface or CFP.",
    ),
    "table_3": (
        Seconds(("resnet50", "iresnet101")),
        "seconds of FAME by number of steps, and of five methods of pairs. Needs nothing.",
    ),
    "figure_1": (
        LocationSheets(("resnet101",), rows="1,4,6"),
        "what locations of a feature map look at, rows 1, 4 and 6 of 0 to 6. Needs a photograph; for (b) a profile "
        "face, and --networks iresnet50 iresnet101 --rows 1.",
    ),
    "figure_2": (
        MethodSheets(("resnet50", "resnet101"), methods=_TWO),
        "Grad-CAM element-wise and FAME on photographs. Needs photographs of ImageNet's validation set.",
    ),
    "figure_3": (MethodSheets(("iresnet101",), methods=OF_FACES), f"{_PAIRS} IResNet-101. Needs pairs of CFP."),
    "figure_4": (AccuracyCurves(), "accuracy by deletion and insertion, by method. Needs runs of CFP FP-01."),
    "figure_5": (
        Sweeps(("iresnet101",), options=("blur",)),
        "e+ of a pair by the size of the blur's kernel, of which the paper prints one, 49. Needs a pair of ARface.",
    ),
    "figure_6": (
        Sweeps(("resnet50",)),
        "maps by number of steps, and by step size, which the paper does not print. Needs photographs.",
    ),
    "figure_7": (
        LocationSheets(("resnet34", "resnet50", "resnet101")),
        "what every location of the feature map looks at. Needs a photograph.",
    ),
    "figure_8": (
        LocationSheets(_FACES),
        "what every location of the feature map looks at. Needs a profile of CFP.",
    ),
    "figure_9": (
        MethodSheets(("resnet34", "vgg19", "convnext_tiny"), methods=_FOUR),
        "four methods on photographs. Needs photographs of ImageNet's validation set.",
    ),
    "figure_10": (MethodSheets(_FACES[:1], methods=OF_FACES), f"{_PAIRS} IResNet-18. Needs pairs of faces."),
    "figure_11": (MethodSheets(_FACES[1:2], methods=OF_FACES), f"{_PAIRS} IResNet-50. Needs pairs of faces."),
    "figure_12": (MethodSheets(_FACES[2:], methods=OF_FACES), f"{_PAIRS} IResNet-101. Needs pairs of faces."),
}

Reproduce = tyro.extras.subcommand_type_from_defaults(
    {name: item for name, (item, _) in ITEMS.items()},
    {name: f"{name.replace('_', ' ').capitalize()}: {text}" for name, (_, text) in ITEMS.items()},
)
"""Make a table or a figure of the paper from your data, with the paper's networks, methods and options."""

"""Networks on the Hugging Face hub: a repository's `config.json` says which, and how its images are prepared.

References:
    CVLface (AdaFace's networks by their author, huggingface.co/minchul) and timm (huggingface.co/timm); the client is
    the package huggingface_hub, with its cache, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE`.
"""

import pathlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from fame_jax import files
from fame_jax.architectures import ARCHITECTURES
from fame_jax.data.classes import class_names
from fame_jax.models import checkpoint
from fame_jax.models.card import Card, CardError
from fame_jax.models.download import DownloadError, expected_hash
from fame_jax.models.install import install
from fame_jax.models.registry import card as card_of
from fame_jax.models.registry import check_own_name
from fame_jax.words import did_you_mean

TIMM = {
    **{name: name for name in ARCHITECTURES if name.startswith(("resnet", "vgg", "convnext"))},
    "mobilenetv2_100": "mobilenet_v2",
    "vit_base_patch16_224": "vit_b_16",
}
"""By timm's name, the architecture."""


class Address(NamedTuple):
    """A repository on the hub at a revision; None for its newest."""

    repository: str
    revision: str | None


def address(text: str) -> Address:
    """`hf:OWNER/NAME[@REVISION]` or `hf://OWNER/NAME[@REVISION]` taken apart.

    Raises:
        DownloadError: if it is none.
    """
    found = re.fullmatch(r"hf:(?://)?([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?", text)
    if found is None:
        raise DownloadError(f"{text}: expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION.")
    return Address(found[1], found[2])


def install_from_hub(
    text: str, *, name: str | None = None, sha256: str | None = None, unverified: bool = False
) -> pathlib.Path:
    """Fetches, checks, converts and installs the network of a repository; see `address` and `install` for errors.

    Args:
        text: `hf:OWNER/NAME[@REVISION]`.
        name: to install it under; None for the repository's.
        sha256: of the weights' file; None if only the hub vouches for it.
        unverified: accept a file of which no hash is given.

    Raises:
        OwnNameError: for a name that a published network has, or that is none; before anything is fetched.
        DownloadError: if the hub cannot be reached, has no such file, or the hash differs or is not known.
        CardError: if `config.json` names no network that is known here.
    """
    place = address(text)
    own = place.repository.split("/")[1] if name is None else name
    check_own_name(own)
    card = card_of_config(files.read_json(fetched(place, "config.json")), place.repository)
    file = fetched(place, "model.safetensors")
    # The hub's client names what it keeps by the hash that the hub gives, and does not compute it.
    blob = file.resolve()
    given = blob.name if re.fullmatch("[0-9a-f]{64}", blob.name) else ""
    expected = expected_hash(text, given, sha256, unverified)
    _check_hash(text, file, given, expected)
    revision = f"@{place.revision}" if place.revision else ""
    card = replace(card, name=own, source=f"hf:{place.repository}{revision}")
    verified = "sha256" if sha256 else "hub" if given else "unverified"
    return install(card, file, verified=verified)


def _check_hash(text: str, file: pathlib.Path, given: str, expected: str) -> None:
    """Refuses a file of another hash than the hub gives, or the user; only in the first case is it damaged, and goes.

    Raises:
        DownloadError: with the hash that was found and the one that was expected.
    """
    if not expected:
        return
    found = files.sha256(file)
    if given and found != given:
        file.resolve().unlink()
        raise DownloadError(
            f"{text}: SHA-256 of {file.name} is {found}, expected {given} from the hub; the damaged file was removed "
            "and nothing was installed. Run it again."
        )
    if found != expected:
        told = ", as the hub says" if given else ""
        raise DownloadError(
            f"{text}: SHA-256 of {file.name} is {found}{told}, expected {expected} from --sha256; nothing was "
            "installed. Check the --sha256, or name another @REVISION."
        )


def snapshot(text: str) -> pathlib.Path:
    """A folder of converted weights that lies on the hub, as `fame convert --format safetensors` made it.

    Raises:
        DownloadError: if it cannot be fetched.
        CheckpointError: if it is none.
    """
    place = address(text)
    folder = fetched(place, checkpoint.ABOUT).parent
    fetched(place, checkpoint.about(folder).stored)
    return folder


def fetched(place: Address, file: str) -> pathlib.Path:
    """A file of a repository, from the hub or its cache.

    Raises:
        DownloadError: if it cannot be had.
        ImportError: if huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise ImportError("the hub is reached by huggingface_hub: pip install 'fame-jax[hub]'") from error
    try:
        return pathlib.Path(hf_hub_download(place.repository, file, revision=place.revision))
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        where = place.repository + (f"@{place.revision}" if place.revision else "")
        raise DownloadError(f"hf:{where}: {file} could not be fetched ({type(error).__name__}: {reason}).") from error


def card_of_config(config: Any, repository: str) -> Card:
    """The card that a `config.json` of CVLface or timm describes.

    Raises:
        CardError: if it names no known network, or says nothing of the photometry.
    """
    if not isinstance(config, dict):
        raise CardError(f"{repository}: config.json is no object.")
    timm = config.get("pretrained_cfg")
    try:
        return _timm(config, timm) if isinstance(timm, dict) else _cvlface(config.get("conf", config), repository)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, CardError):
            raise
        raise CardError(f"{repository}: config.json cannot be used ({type(error).__name__}: {error}).") from error


def _timm(config: Mapping[str, Any], photometry: Mapping[str, Any]) -> Card:
    name = str(config["architecture"]).split(".")[0]
    if name not in TIMM:
        raise CardError(f"timm's {name} is not known here; {did_you_mean(name, TIMM)} Known are {', '.join(TIMM)}.")
    _, height, width = photometry["input_size"]
    if height != width:
        raise CardError(f"timm's {name} takes {height} x {width} pixels; expected a square.")
    published, outputs = card_of(TIMM[name]), int(config["num_classes"])
    labels = config.get("label_names") or (class_names() if outputs == 1000 else None)
    return replace(
        published,
        size=height,
        resize=int(height / float(photometry.get("crop_pct") or 1)),
        mean=_channels(photometry["mean"]),
        std=_channels(photometry["std"]),
        labels=None if labels is None else tuple(map(str, labels)),
        licence=str(photometry.get("license") or ""),
    )


def _cvlface(conf: Mapping[str, Any], repository: str) -> Card:
    words = " ".join(str(conf.get(key, "")) for key in ("yaml_path", "name", "architecture")) + f" {repository}"
    depth = re.search(r"ir_?(18|34|50|101)(?!\d)", words)
    if depth is None:
        raise CardError(f"{repository}: config.json names no network that is known here; expected an IR-18 to IR-101.")
    space = str(conf["color_space"]).upper()
    if space not in ("RGB", "BGR"):
        raise CardError(f"{repository}: the color_space is {space!r}; expected RGB or BGR.")
    size = int(conf["input_size"][-1]) if "input_size" in conf else 112
    return replace(
        card_of(f"iresnet{depth[1]}"),
        size=size,
        resize=size,
        mean=_channels(conf["mean"]),
        std=_channels(conf["std"]),
        reverse_channels=space == "BGR",
        licence="MIT",
    )


def _channels(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)

"""`fame run`: a data set in, a store of maps out; what was interrupted continues."""

import math
import pathlib
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from fame_jax import models
from fame_jax.cli.console import InputError, Number, at_least, positive, progress_bar, say, say_error, switch_on
from fame_jax.cli.thresholds import stored_threshold
from fame_jax.data.records import Dataset
from fame_jax.datasets.catalogue import read
from fame_jax.experiments import processes
from fame_jax.experiments.maps import Method
from fame_jax.experiments.processes import Processes
from fame_jax.experiments.run import prepared
from fame_jax.experiments.settings import Settings, check_method, check_network, method_options, plain_options
from fame_jax.experiments.store import DONE, FAILED, NO_MAP, PENDING, status_message
from fame_jax.experiments.store import Run as Store
from fame_jax.explainers.table import EXPLAINERS, explainer
from fame_jax.files import parse_json
from fame_jax.presets import AUTO_STOP
from fame_jax.walk import Status

_SHOWN = 3


@dataclass(frozen=True)
class Run:
    """Explain a whole data set into a store of maps.

    The simplest data set is a folder of photographs: fame run folder PHOTOGRAPHS --out maps. Interrupted in whatever
    way, the same command continues where it was, and the maps are those of an uninterrupted run. A picture that cannot
    be read is written down with its reason, and the others go on; the exit code is then 2.
    """

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
    """Data set; fame check lists them. "folder" is any folder of photographs."""
    root: Annotated[pathlib.Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """Its folder; or the list, for pairs and list."""
    out: pathlib.Path
    """Folder of the run: new, or that of the run to continue. With several methods, one folder a method inside it."""
    protocol: str | None = None
    """Part of the data set; fame check lists those."""
    partial: bool = False
    """This is a part of the data set: do not compare with published counts."""
    allow_outside: bool = False
    """Accept files outside the folder that lists or links lead to."""
    eyes: pathlib.Path | None = None
    """Annotated eyes of faces: a CSV file or a folder of .pos files, see fame check."""
    crops: pathlib.Path | None = None
    """Folder of aligned faces in HDF5, for pairs."""
    clients: pathlib.Path | None = None
    """List of the clients to evaluate, for arface."""
    model: str | None = None
    """Network; fame models lists them. Omitted: mobilenet_v2 for classes, sface for faces."""
    weights: pathlib.Path | None = None
    """A converted folder or the publisher's own file, instead of what is installed."""
    method: str = "fame"
    """An explainer, several with commas between them, or "all"."""
    preset: Literal["paper", "official"] = "paper"
    """The paper's choices, or those of the authors' published code."""
    iterations: int = 500
    """Number of steps of a walk, at most."""
    stop: Literal["off", "auto"] = "off"
    """auto ends each of FAME's walks once its map hardly changes any more."""
    step_size: Number = 1 / 255
    """Largest change of a pixel in one step; 1/255 is one grey level."""
    sigma: Number = 7.7
    """Standard deviation of the blur of FAME's maps, in pixels."""
    option: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=VALUE, any other option of the methods, once for each: --option masks=1000 --option stop_loss=0.01."""
    precision: models.Precision = "float32"
    """Maps in float64 agree between machines, batch sizes and libraries; the others are faster."""
    resize: Literal["232", "weights"] = "232"
    """Short side of a photograph before the central crop: 232 for all networks, or the rule of their own weights."""
    aligned: bool = False
    """The faces are aligned: take them as they are."""
    align: Literal["template", "bob"] = "template"
    """Where annotated eyes are moved to: this project's template, or that of bob.bio.face."""
    batch_size: int | None = None
    """Images or walks on the devices at once. Omitted: 4 on CPU, 64 on each accelerator."""
    block_size: int | None = None
    """Records written, and after a crash repeated, together. Omitted: two batches."""
    dtype: Literal["float16", "float32", "float64"] = "float32"
    """Of the stored maps."""
    limit: int | None = None
    """Only the first so many records."""
    seed: int = 0
    """Of the methods that draw random numbers."""
    repair: bool = False
    """Also explain again what failed, what is damaged on disk, and pictures that have changed since."""
    coordinator: str | None = None
    """HOST:PORT of process 0, at which several processes meet. Omitted: they are found on Slurm and TPU pods."""
    process_id: int | None = None
    """Which of several processes this is, from 0."""
    processes: int | None = None
    """Number of processes that share the records; all have the same other arguments and see the same --out."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command; returns 2 if a record could not be explained, else 0."""
        self._check()
        us = processes.meet(self.coordinator, self.process_id, self.processes, say=say_error)
        switch_on(self.precision)
        dataset = self._dataset()
        card = models.card(self.model or ("mobilenet_v2" if dataset.task == "class" else "sface"))
        check_network(card, dataset)
        methods = self._methods(dataset)
        if len(methods) > 1 and (self.out / "manifest.json").exists():
            raise InputError(f"--out {self.out}: holds a run of one method; choose another folder for several.")
        weights = models.weights_hash(card.name, self.weights)
        network: Any = None
        failed = False
        for method in methods:
            folder = self.out if len(methods) == 1 else self.out / method
            settings = self._settings(method, methods, dataset, card, weights)
            if self.option:
                network = network or models.load(card.name, self.weights, precision=self.precision)
                options = method_options(method, dataset.task, settings)
                dtype = models.image_dtype(self.precision)
                Method(method, dataset.task, network, options, dtype, batch_size=1).check(card.size)
            with prepared(
                dataset,
                card,
                method,
                folder,
                settings,
                weights_sha256=weights,
                processes=us,
                repair=self.repair,
                say=say_error,
            ) as job:
                if job.pending:
                    if network is None:
                        network = models.load(card.name, self.weights, precision=self.precision)
                    with progress_bar(job.total, job.unit, hide=not self.progress) as bar:
                        bar.set_description(method)
                        job.finish(network, bar.update)
                failed |= _summary(job.store, us)
        return 2 if failed else 0

    def _check(self) -> None:
        at_least(0, iterations=self.iterations, seed=self.seed)
        positive(step_size=self.step_size, sigma=self.sigma)
        for name in ("batch_size", "block_size", "limit", "processes"):
            if (value := getattr(self, name)) is not None:
                at_least(1, **{name: value})

    def _dataset(self) -> Dataset:
        given = {name: getattr(self, name) for name in ("eyes", "crops", "clients")}
        dataset = read(
            self.dataset,
            self.root,
            self.protocol,
            expected={} if self.partial else None,
            allow_outside=self.allow_outside,
            **{name: value for name, value in given.items() if value is not None},
        )
        for problem in dataset.problems[:_SHOWN]:
            say_error(f"{problem.where}: {problem.reason}")
        if (more := len(dataset.problems) - _SHOWN) > 0:
            say_error(f"{more} more problems; fame check {self.dataset} {self.root} lists them")
        return replace(dataset, records=dataset.records[: self.limit])

    def _methods(self, dataset: Dataset) -> list[str]:
        if self.method == "all":
            return [name for name, row in EXPLAINERS.items() if getattr(row, f"of_{dataset.task}") is not None]
        names = list(dict.fromkeys(explainer(name.strip()).name for name in self.method.split(",")))
        for name in names:
            check_method(name, dataset.task)
        return names

    def _settings(self, method: str, methods: list[str], dataset: Dataset, card: models.Card, weights: str) -> Settings:
        known = explainer(method).options(dataset.task)
        options = {}
        if method == "fame":
            options = {"iterations": self.iterations, "step_size": self.step_size, "sigma": self.sigma}
            options |= AUTO_STOP if self.stop == "auto" else {}
        elif "threshold" in known and (threshold := stored_threshold(card.name, weights)).known:
            options = {"threshold": threshold.value}
        given = self._given(methods, dataset)
        return Settings(
            preset=self.preset,
            options=options | {name: value for name, value in given.items() if name in known},
            precision=self.precision,
            resize=self.resize,
            aligned=self.aligned,
            eyes=self.align,
            batch_size=self.batch_size,
            block_size=self.block_size,
            dtype=self.dtype,
            seed=self.seed,
        )

    def _given(self, methods: list[str], dataset: Dataset) -> dict[str, Any]:
        """The options of `--option`, each of which some method must have."""
        known = {name for method in methods for name in plain_options(method, dataset.task)}
        options = {}
        for text in self.option:
            name, equals, value = text.partition("=")
            name = name.strip().replace("-", "_")
            if not equals or name not in known:
                raise InputError(f"--option {text}: expected NAME=VALUE, NAME being one of {', '.join(sorted(known))}.")
            options[name] = _value(value)
        return options


def _value(text: str) -> Any:
    """A number, true, false, null or a list as in JSON; anything else is a word."""
    try:
        value = parse_json(text)
    except ValueError:
        return text.strip()
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"--option: {text} is no finite number.")
    return tuple(value) if isinstance(value, list) else value


def _odd_maps(store: Store) -> str:
    """How many maps are blank or incomplete, and why."""
    status = store.column("status")
    found = {code: int((status == code).sum()) for code in np.unique(status) if code not in (NO_MAP, Status.OK)}
    return ", ".join(f"{count} {status_message(int(code))}" for code, count in found.items())


def _summary(store: Store, us: Processes) -> bool:
    """Says how far the run is and what comes next; True if a record failed."""
    state = store.column("state")
    done, failed, pending = ((state == value).sum() for value in (DONE, FAILED, PENDING))
    line = f"{store.folder}: {store.manifest['method']}, {done} of {len(state)} records explained"
    if failed:
        line += f", {failed} failed (reasons in {store.folder / 'failures'}; --repair tries them again)"
    if odd := _odd_maps(store):
        line += f", of the maps {odd}"
    if pending:
        line += f", {pending} left to other processes"
    here = f"{us.words}: " if us.words else ""
    say(f"{here}{line}. Next: fame score {store.folder}, fame report {store.folder}")
    if failed:
        index, reason = next(iter(store.failures().items()))
        say_error(f"{failed} records failed, the first is {store.records[index].name}: {reason}")
    return bool(failed)

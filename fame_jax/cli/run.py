"""`fame run`: a data set in, a store of maps out; what was interrupted continues."""

import contextlib
import functools
import pathlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from fame_jax.cli.console import InputError, at_least, keep_compiled_programs, lowest_score, say, say_error, say_errors
from fame_jax.cli.flags import EngineFlags, Flat, InputFlags, MethodFlags, NetworkFlags, Number
from fame_jax.cli.output import output_folder
from fame_jax.cli.progress import progress_bar
from fame_jax.cli.records import RecordFlags
from fame_jax.data.records import Dataset, Problem, Task, pictures_of
from fame_jax.datasets.coco import as_coco, boxes_of
from fame_jax.detection.candidates import THRESHOLD
from fame_jax.experiments.detections import detections_of
from fame_jax.experiments.identity import network_identity
from fame_jax.experiments.kept import MapDtype
from fame_jax.experiments.lock import locked
from fame_jax.experiments.opening import at_work, wait_for
from fame_jax.experiments.processes import ALONE, PATIENCE, Processes, this_process
from fame_jax.experiments.run import finish, prepared
from fame_jax.experiments.settings import Device, Settings, check_network, differences, in_classes_of
from fame_jax.experiments.spent import words
from fame_jax.experiments.store import DONE, FAILED, PENDING
from fame_jax.experiments.store import Run as Store
from fame_jax.files import read_json, write_json
from fame_jax.inputs import geometry
from fame_jax.models import Loaded
from fame_jax.remote import located
from fame_jax.walk import Status

_SHOWN = 3
_SEARCHING = ".searching"  # Beside the boxes that process 0 is looking for.
_WORTH_TELLING = 60.0  # Seconds of a run; less is mostly compilation.


@dataclass(frozen=True)
class Run:
    """Explain a whole data set into a store of maps.

    The simplest data set is a folder of photographs: fame run folder PHOTOGRAPHS --out maps. With a detector for a
    --model, every box that it finds there is explained; with the data set coco, every box of a list. Interrupted in
    whatever way, the same command continues where it was, and the maps are those of an uninterrupted run. A picture
    that cannot be read is written down with its reason, and the others go on; the exit code is then 2.
    """

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET")]
    """Data set; fame check lists them. "folder" is any folder of photographs."""
    root: Annotated[pathlib.Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROOT")]
    """Its folder; or the list, for pairs, list and coco; or the data directory, for tfds:NAME."""
    out: pathlib.Path
    """Folder of the run, here or at s3:// or gs://: new, or that of the run to continue. With several methods, one
    folder a method inside it."""
    records: Flat[RecordFlags] = field(default_factory=RecordFlags)
    network: Flat[NetworkFlags] = field(default_factory=NetworkFlags)
    methods: Flat[MethodFlags] = field(default_factory=MethodFlags)
    pixels: Flat[InputFlags] = field(default_factory=InputFlags)
    align: Literal["template", "bob"] = "template"
    """Where annotated eyes are moved to: this project's template, or that of bob.bio.face."""
    block_size: int | None = None
    """Records written, and after a crash repeated, together. Omitted: two batches, 8 at the least."""
    dtype: MapDtype | None = None
    """Of the stored maps: float16 is off by 2^-11 of a value at the most, uint8 by half a grey level and only for maps
    in [0, 1]. Omitted: float32."""
    threshold: Number = THRESHOLD
    """Lowest score of a detector's boxes in a folder, from 0 to 1."""
    limit: int | None = None
    """Only the first so many records."""
    repair: bool = False
    """Also explain again what failed, what is damaged on disk, and pictures that have changed since."""
    process_id: int | None = None
    """Which of several processes this is, from 0."""
    processes: int | None = None
    """Number of processes that share the records; all have the same other arguments and see the same --out. Omitted:
    those of a Slurm step or TPU pod."""
    engine: Flat[EngineFlags] = field(default_factory=EngineFlags)
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Runs the command; returns 2 if a record could not be explained or a picture was passed over, else 0."""
        self.methods.check()
        for name in ("block_size", "limit", "processes"):
            if (value := getattr(self, name)) is not None:
                at_least(1, **{name: value})
        self.engine.check()
        us = self._processes()
        lowest_score(self.threshold)
        dataset = self.records.read(self.dataset, self.root)
        dataset = replace(dataset, records=dataset.records[: self.limit])
        loaded = self.network.load(dataset.task, detectors=True)
        if loaded.card.task == "detect":
            dataset = self._boxes(dataset, loaded, us)
        dataset = in_classes_of(loaded.card, dataset)
        self._say_problems(dataset)
        rows = self.methods.rows(dataset.task)
        out = located(self.out)
        folders = {row.name: out if len(rows) == 1 else out / row.name for row in rows}
        if len(rows) > 1 and (out / "manifest.json").exists():
            raise InputError(f"--out {self.out}: holds a run of one method; choose another folder for several.")
        check_network(loaded.card, dataset)
        options = self.methods.options(rows, dataset.task, loaded.card)
        size, network = geometry(loaded.card, resize=self.pixels.resize).size, loaded.network
        if dataset.task == "detect":
            from fame_jax.detection import of_network

            network = of_network(network, loaded.card, size, size)
        engine = self.methods.engine(network, dataset.task, self.network.precision)
        for method in self.methods.methods(engine, rows, loaded.card):
            method.check(size, size, 3)
        identity = loaded.card.sha256 or network_identity(loaded.network, loaded.card.name, self.network.precision)
        with contextlib.ExitStack() as stack:
            jobs, cluster = [], stack.enter_context(self.engine.cluster())
            device = cluster and _device(cluster, folders.values())
            for row in rows:
                settings = self._settings(options[row.name])
                job = stack.enter_context(
                    prepared(
                        dataset,
                        loaded.card,
                        row,
                        folders[row.name],
                        settings,
                        identity=identity,
                        source=self.network.source,
                        processes=us,
                        repair=self.repair,
                        say=say_error,
                        device=device,
                    )
                )
                jobs.append(job)
            with progress_bar(sum(job.passes for job in jobs), "pass", hide=not self.progress) as bar:
                if cluster:
                    load = functools.partial(_network, self.network.anywhere(), dataset.task)
                    blocks = _finish_on(cluster, jobs, load, bar.update)
                else:
                    blocks = finish(jobs, network, bar.update)
            failed = [_summary(job.store, us, of) for job, of in zip(jobs, blocks, strict=True)]
        return 2 if any(failed) or dataset.problems else 0

    def _processes(self) -> Processes:
        if self.engine.engine == "process":
            return this_process(self.process_id, self.processes)
        if self.processes is not None or self.process_id is not None:
            raise InputError("--processes and --process-id share out blocks by hand, --engine ray does it by itself.")
        return ALONE

    def _say_problems(self, dataset: Dataset) -> None:
        lines = [f"{problem.where}: {problem.reason}" for problem in dataset.problems]
        say_errors(lines, _SHOWN, f"problems; fame check {self.dataset} {self.root} lists them")

    def _boxes(self, dataset: Dataset, loaded: Loaded, us: Processes) -> Dataset:
        """The boxes of a list, or those found in a folder, which are kept as such a list beside the maps."""
        if dataset.task == "class" and self.dataset in ("folder", "prepared"):
            file = located(self.out) / "detections.json"
            about = {
                "folder": str(self.root.absolute()),
                "photographs": len(dataset.records),
                "detector": loaded.card.sha256 or self.network.source,
                "threshold": self.threshold,
                "resize": self.pixels.resize,
            }
            if us.index:
                wait_for(file, PATIENCE, file.parent / _SEARCHING)
            elif not file.exists():
                self._find(dataset, loaded, file, about)
            there = read_json(file)["info"]
            if differing := differences(there, about):
                raise InputError(f"{file}: boxes of something else ({', '.join(differing)}); choose another --out.")
            kept = boxes_of(file, located(self.root), allow_outside=True)
            unread = (Problem(*one) for one in there["problems"])
            dataset = replace(kept, problems=(*unread, *kept.problems))
        return dataset

    def _find(self, photographs: Dataset, loaded: Loaded, file: pathlib.Path, about: dict[str, Any]) -> None:
        """Writes down the boxes that a detector finds."""
        output_folder(file.parent)
        how = {"threshold": self.threshold, "resize": self.pixels.resize}
        beat = at_work(file.parent / _SEARCHING)
        with progress_bar(len(photographs.records), "photograph", hide=not self.progress) as bar:

            def searched(count: int) -> None:
                bar.update(count)
                beat()

            beat()
            found = detections_of(loaded.network, loaded.card, photographs, progress=searched, **how)
        shown = len({picture for record in found.records for picture in pictures_of(record)})
        say(f"{len(found.records)} boxes in {shown} of {len(photographs.records)} photographs, see {file}")
        problems = [[problem.where, problem.reason] for problem in found.problems]
        write_json(file, as_coco(found, self.root, {**about, "problems": problems}))
        (file.parent / _SEARCHING).unlink(missing_ok=True)

    def _settings(self, options: dict[str, object]) -> Settings:
        return Settings(
            preset=self.methods.preset,
            options=options,
            precision=self.network.precision,
            resize=self.pixels.resize,
            aligned=self.pixels.aligned,
            detector=self.pixels.detector,
            eyes=self.align,
            batch_size=self.methods.batch_size,
            block_size=self.block_size,
            dtype=self.dtype,
            seed=self.methods.seed,
        )


def _odd_maps(store: Store) -> str:
    """How many maps are blank or incomplete, and why."""
    status = store.column("status")
    found = {code: int((status == code).sum()) for code in np.unique(status) if code not in (Status.NO_MAP, Status.OK)}
    return ", ".join(f"{count} {Status(int(code)).message}" for code, count in found.items())


def _device(cluster: Any, folders: Iterable[pathlib.Path]) -> Device:
    """What a cluster computes with; a command that another one locks out does not wait for workers first."""
    from fame_jax.experiments.on_cluster import device_of

    for folder in folders:
        with locked(folder / ".lock-0"):
            pass
    return device_of(cluster)


def _finish_on(cluster: Any, *how: Any) -> list[dict[int, str]]:
    from fame_jax.experiments.on_cluster import finish

    return finish(cluster, *how)


def _network(flags: NetworkFlags, task: Task) -> Any:
    """The network on a worker."""
    keep_compiled_programs()
    return flags.load(task).network


def _summary(store: Store, us: Processes, blocks: Mapping[int, str]) -> bool:
    """Says how far the run is, how fast it was and what comes next; True if a record failed, or a block."""
    state = store.column("state")
    done, failed, pending = ((state == value).sum() for value in (DONE, FAILED, PENDING))
    line = f"{store.folder}: {store.manifest['method']}, {done} of {len(state)} records explained"
    if failed:
        line += f", {failed} failed (reasons in {store.folder / 'failures'}; --repair tries them again)"
    if odd := _odd_maps(store):
        line += f", of the maps {odd}"
    if pending:
        line += f", {pending} left{'' if blocks else ' to other processes'}"
    here = f"{us.words}: " if us.words else ""
    say(f"{here}{line}. Next: fame score {store.folder}, fame report {store.folder}")
    if any(times["seconds"] > _WORTH_TELLING for times in store.times):
        say(f"{words(store.times)}; fame bench {store.folder} says more")
    if failed:
        index, reason = next((i, reason) for i, reason in store.failures().items() if state[i] == FAILED)
        say_error(f"{failed} records failed, the first is {store.records[index].name}: {reason}")
    again = "the same command tries it again"
    lines = [f"block {block} failed, {again}: {reason}" for block, reason in sorted(blocks.items())]
    say_errors(lines, _SHOWN, f"blocks failed, see {store.folder / 'failures'}")
    return bool(failed or blocks)

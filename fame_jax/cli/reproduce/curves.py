"""Figure 4: deletion and insertion curves of face verification by method, from scored runs."""

import pathlib
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro

from fame_jax import plots
from fame_jax.cli import output
from fame_jax.cli.console import InputError, progress_bar, say
from fame_jax.experiments import paper
from fame_jax.experiments.rows import Scores
from fame_jax.experiments.score import network_of, score
from fame_jax.experiments.store import Run
from fame_jax.experiments.summary import correct, remarks, summary, threshold
from fame_jax.experiments.tables import markdown, table_2
from fame_jax.explainers.table import explainer
from fame_jax.metrics import estimate


@dataclass(frozen=True)
class VerificationCurves:
    """Accuracy as ever more of the probe is removed or shown, with bootstrap bands over pairs."""

    runs: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")] = ()
    """Runs of pairs by different methods, with one network: fame run cfp CFP --protocol FP-01 --model iresnet101
    --method grad_cam,grad_cam_ew,corrrise,fggb,fame --out RUNS. They are scored first, if they are not yet."""
    weights: pathlib.Path | None = None
    """The runs' weights, if they are not installed."""
    out: pathlib.Path = pathlib.Path("fame-out")
    """Folder for the figure (.png) and the arrays (.npz)."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Scores what is not scored, draws, and prints the areas beside the paper's."""
        runs = [Run(folder) for folder in self.runs]
        if not runs or any(run.task != "pair" for run in runs):
            raise InputError("these curves are of face verification: expected runs of pairs, see --help.")
        network = network_of(runs[0], self.weights)
        found = {explainer(run.manifest["method"]).title: self._scored(run, network) for run in runs}
        if len(found) < len(runs):
            raise InputError("two runs are of one method; expected one run a method.")
        folder = output.output_folder(self.out)
        fractions = np.asarray(next(iter(found.values())).options["fractions"])
        curves = {
            kind: {name: _band(scores, kind) for name, scores in found.items()} for kind in ("deletion", "insertion")
        }
        points = [threshold(scores) for scores in found.values()]
        title = f"{runs[0].manifest['dataset']}, {runs[0].manifest['network']}, threshold {points[0].threshold:.3f}"
        figure = plots.deletion_insertion(
            fractions, curves["deletion"], curves["insertion"], clean=points[0].accuracy, title=title
        )
        output.write_figure(folder / "curves.png", figure)
        output.write_arrays(folder / "curves.npz", fractions=fractions, **_arrays(runs, curves))
        say(markdown(table_2(runs)))
        say(f"\nclean accuracy {points[0].accuracy:.2%} (paper: {paper.CLEAN_ACCURACY} %, IResNet-101 on CFP FP-01)")
        for name, scores in found.items():
            for remark in remarks(scores):
                say(f"{name}: {remark}")
        say(f"wrote {folder / 'curves.png'}")
        return 0

    def _scored(self, run: Run, network: Any) -> Scores:
        with progress_bar(len(run.records), "pair", hide=not self.progress) as bar:
            return score(run, "verification", network=network, progress=bar.update)


def _band(scores: Scores, kind: str) -> plots.Band:
    """Mean accuracy at every share and its interval, and the area for the legend."""
    columns = [estimate(column) for column in correct(scores, kind).T]
    area = next(m.estimate.mean for m in summary(scores) if m.figure.name == f"{kind}_auc")
    mean, low, high = (np.asarray([getattr(e, name) for e in columns]) for name in ("mean", "low", "high"))
    return plots.Band(mean, low, high, f"({area:.1f} %)")


def _arrays(runs: list[Run], curves: dict[str, dict[str, plots.Band]]) -> dict[str, Any]:
    return {
        f"{run.manifest['method']}_{kind}_{end}": getattr(band, end)
        for kind, bands in curves.items()
        for run, band in zip(runs, bands.values(), strict=True)
        for end in ("mean", "low", "high")
    }

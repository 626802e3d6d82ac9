"""`fame report`: runs, results and photographs in; one HTML file out."""

import pathlib
import shlex
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from fame_jax import files
from fame_jax.cli.console import InputError, at_least, say
from fame_jax.cli.explain import Explain
from fame_jax.cli.flags import Flat, InputFlags, MethodFlags, NetworkFlags


@dataclass(frozen=True)
class Report:
    """Show runs, explained photographs and face pairs as one HTML file, which needs no server and no network.

    Takes folders written by fame run, explain, verify and locations; several of the same pictures are shown side by
    side. Photographs are explained first, into a folder beside the report (report-maps for report.html).
    """

    sources: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR|IMAGE ...")]
    """Folders of results, or photographs."""
    target: str | None = None
    """Of photographs: the class to explain; omitted, the top class of each."""
    network: Flat[NetworkFlags] = field(default_factory=NetworkFlags)
    methods: Flat[MethodFlags] = field(default_factory=lambda: MethodFlags(method="fame,grad_cam,gradient"))
    pixels: Flat[InputFlags] = field(default_factory=InputFlags)
    sanity: bool = False
    """Of photographs: explain a second time with random weights and tell how alike the maps are."""
    limit: int = 500
    """Records of a run that are shown; its scores and failures are always of all."""
    title: str = "FAME report"
    """Of the page."""
    out: pathlib.Path = pathlib.Path("report.html")
    """The file to write."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self) -> int:
        """Writes the report; returns 2 if a photograph could not be explained, else 0."""
        from fame_jax.report import page, read

        self.methods.check()
        at_least(0, limit=self.limit)
        folders, photographs = self._sorted()
        self._check_out()
        # Read before the long work, so that a folder of something else is told first.
        read_sources = read(folders, limit=self.limit)
        code = 0
        if photographs:
            code = self._explain(photographs)
            # What an earlier report has left there is older.
            read_sources += read([self._maps()], limit=self.limit)[-1:]
        html = page(read_sources, title=self.title, command=self._command())
        files.write(self.out, lambda file: file.write(html.encode("utf-8", "replace")))
        shown = len({item.key for source in read_sources for item in source.items})
        failed = sum(len(source.failures) for source in read_sources)
        say(f"{shown} shown, {failed} failed; wrote {self.out} ({self.out.stat().st_size / 1e6:.1f} MB)")
        return code

    def _sorted(self) -> tuple[list[pathlib.Path], tuple[pathlib.Path, ...]]:
        """Folders, and photographs."""
        if not self.sources:
            raise InputError("nothing to show; expected folders of fame run, explain or verify, or photographs.")
        folders = [path for path in self.sources if path.is_dir()]
        photographs = tuple(path for path in self.sources if not path.is_dir())
        if missing := [path for path in photographs if not path.exists()]:
            raise InputError(f"{missing[0]}: there is no such file or folder.")
        if self.sanity and folders:
            raise InputError(
                "--sanity is for photographs; a folder shows what fame explain --sanity has written there."
            )
        return folders, photographs

    def _check_out(self) -> None:
        if self.out.is_dir():
            raise InputError(f"--out {self.out}: is a folder; expected the name of a file, such as report.html.")
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--out {self.out}: cannot be written ({error.strerror}); choose another place."
            ) from error

    def _maps(self) -> pathlib.Path:
        return self.out.with_name(f"{self.out.stem}-maps")

    def _explain(self, photographs: tuple[pathlib.Path, ...]) -> int:
        return Explain(
            images=photographs,
            target=self.target,
            network=self.network,
            methods=self.methods,
            pixels=self.pixels,
            sanity=self.sanity,
            out=self._maps(),
            progress=self.progress,
        )()

    def _command(self) -> str:
        """What was asked for, without what is as if nothing had been said."""
        words, usual = ["fame", "report", *map(str, self.sources)], Report(self.sources)
        groups = [(self, usual), *((getattr(self, name), getattr(usual, name)) for name in _GROUPS)]
        groups.append((self.network.graph, usual.network.graph))
        for group, default in groups:
            for name, value in vars(group).items():
                if name in ("sources", "progress", "graph", *_GROUPS) or value == getattr(default, name):
                    continue
                flag = f"--{name.replace('_', '-')}"
                if not isinstance(value, tuple):
                    words.append(flag if value is True else f"{flag}={value}")
                elif isinstance(value[0], float):
                    words += [flag, *map(str, value)]
                else:
                    words += [f"{flag}={one}" for one in value]
        return shlex.join(words)


_GROUPS = ("network", "methods", "pixels")

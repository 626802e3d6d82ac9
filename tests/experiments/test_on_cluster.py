"""What the driver of a cluster makes of its workers' answers, with a worker that is a call."""

import shutil
from contextlib import ExitStack

import pytest

from fame_jax.experiments.run import finish, prepared
from fame_jax.experiments.store import RunError
from tests.experiments import tiny

pytest.importorskip("ray")
METHODS = ("random", "gradient")


def here(lost=()):
    """A cluster of this process; tasks of several methods at blocks in `lost` are done, and nobody answers."""
    from fame_jax.experiments.cluster import Cluster

    class Here(Cluster):
        tasks = ()

        def compute(self, begin, tasks, arrived, tick=None):
            work, failed = begin(), {}
            for task in tasks:
                self.tasks += (task,)
                try:
                    found = work(task)
                except RunError as error:
                    failed[task] = str(error)
                    continue
                if task[0] in lost and len(task[1]) > 1:
                    failed[task] = "the worker's process ended"
                else:
                    arrived(task, found)
            return failed

    return Here(None, print)


@pytest.fixture
def repaired(tmp_path):
    """Jobs of two methods with the first of two blocks to be repaired, since a picture has changed."""
    paths = tiny.pictures(tmp_path / "pictures", 4)
    data = tiny.dataset(tmp_path / "pictures")

    def jobs(stack, **how):
        how |= {"settings": tiny.settings(None), "identity": "0"}
        return [stack.enter_context(prepared(data, tiny.card(), name, tmp_path / name, **how)) for name in METHODS]

    with ExitStack() as stack:
        finish(jobs(stack), tiny.network())
    shutil.copy(paths[1], paths[0])
    with ExitStack() as stack:
        yield jobs(stack, repair=True)


@pytest.fixture
def broken(monkeypatch):
    """The method of the first job raises."""
    from fame_jax.experiments import on_cluster
    from fame_jax.experiments.block import BlockError, explain_block

    def explained(store, *rest):
        if store.folder.name == METHODS[0]:
            raise BlockError("too little memory")
        explain_block(store, *rest)

    monkeypatch.setattr(on_cluster, "explain_block", explained)


def test_a_method_that_raises_at_a_block_it_repairs_is_the_one_that_failed(repaired, broken):
    from fame_jax.experiments.on_cluster import finish

    counts, cluster = [], here()
    failed = finish(cluster, repaired, tiny.network, counts.append)
    assert failed == [{0: "random: BlockError: too little memory"}, {}]
    assert cluster.tasks == ((0, (0, 1)), (0, (0,)))
    assert sum(counts) == 2, "the passes of the method that did its part"
    assert [job.store.failures() for job in repaired] == [{}, {}], "the maps of before are there"


def test_methods_whose_worker_ended_are_tried_each_by_itself(repaired, broken):
    from fame_jax.experiments.on_cluster import finish

    cluster = here(lost=[0])
    assert [list(blocks) for blocks in finish(cluster, repaired, tiny.network)] == [[0], []]
    assert cluster.tasks == ((0, (0, 1)), (0, (0,)), (0, (1,)))

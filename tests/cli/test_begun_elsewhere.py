"""Runs that were begun in Python, or on other hardware, are scored and go on."""

import pathlib

import pytest

from fame_jax import models
from fame_jax.batching import devices
from fame_jax.datasets.photographs import read_folder
from fame_jax.experiments.run import run
from fame_jax.experiments.store import Run

OWN = f"{pathlib.Path(__file__).parents[1] / 'own_network.py'}:network"


@pytest.mark.thorough
def test_a_run_begun_in_python_is_scored_and_goes_on_by_the_commands(fame, photographs, tmp_path, shared_data):
    (photographs / "cut short.png").unlink()
    network, card, out = models.load("mobilenet_v2"), models.card("mobilenet_v2"), tmp_path / "maps"
    run(network, read_folder(photographs), "random", out, card=card)
    official = shared_data / "weights" / "mobilenet_v2-b0353104.pth"
    scored = ("score", out, "--metric", "deletion", "--fractions", "0.2,0.6", "--no-progress")
    assert fame(*scored, "--weights", official).code == 0
    ended = fame("run", "folder", photographs, "--out", out, "--method", "random", "--no-progress")
    assert ended.code == 0, ended.err
    assert "2 of 2 records explained" in ended.out
    for file in (out / "scores").iterdir():
        file.unlink()
    assert fame(*scored).code == 0


def test_a_run_goes_on_where_there_are_more_devices(fame, photographs, tmp_path, monkeypatch):
    (photographs / "cut short.png").unlink()
    command = ("run", "folder", photographs, "--out", tmp_path / "maps", "--model", OWN, "--method", "gradient")
    states = []
    for usual in (1, 8):
        monkeypatch.setattr(devices, "MOST_ON_CPU", usual)
        ended = fame(*command, "--no-progress")
        assert ended.code == 0, ended.err
        states.append(Run(tmp_path / "maps").manifest)
    assert states[0]["options"] == states[1]["options"]
    assert [state.get("batch_size") for state in states] == [states[0].get("batch_size")] * 2
    assert fame(*command, "--batch-size", "5", "--no-progress").code == 2

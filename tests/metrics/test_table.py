"""The table of metrics and the page that shows it."""

import pathlib

import jax.numpy as jnp
import pytest

from fame_jax import metrics
from fame_jax.metrics.table import METRICS, Subject, metrics_table
from fame_jax.presets import PRESETS

PAGE = pathlib.Path(metrics.__file__).parents[1] / "docs" / "choose_a_metric.md"


def test_the_page_shows_the_table_as_it_is():
    assert metrics_table() in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", METRICS)
def test_every_row_is_complete(name):
    row = METRICS[name]
    assert row.figures
    assert row.source
    if row.measure is None:
        assert callable(getattr(metrics, name))
        return
    options = row.options()
    assert row.along is None or row.along in options
    assert row.preset is None or set(PRESETS["official"][row.preset]) <= set(options)
    assert ("network" in row.needs) == (row.cost() > 0)


def test_costs_count_the_shares():
    assert METRICS["road_delete"].cost() == 3 + 1
    assert METRICS["road_delete"].cost(fractions=[0.5]) == 2
    assert METRICS["verification"].cost() == 2 * 11 + 2
    assert METRICS["iou"].cost() == 0


def test_energy_counts_a_pixel_in_two_boxes_once():
    masks = jnp.zeros((3, 4, 4), bool).at[:2, :2].set(True)
    subject = Subject(image=None, attribution=jnp.ones((4, 4)), masks=masks)
    assert float(METRICS["energy"].measure(None, subject)["energy"]) == 0.5


def test_empty_masks_that_fill_up_change_no_iou():
    masks = jnp.zeros((3, 4, 4), bool).at[0, :2].set(True)
    for choose in ("union", "first", "best"):
        subject = Subject(image=None, attribution=masks[0].astype(float), masks=masks)
        assert METRICS["iou"].measure(None, subject, choose=choose)["iou"].tolist() == [1, 1, 1]

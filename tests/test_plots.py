"""Pictures of maps: what is drawn where."""

import numpy as np
import pytest

from fame_jax import plots

IMAGE = np.full((8, 8, 3), 0.5, np.float32)
MAP = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)


def test_curves_have_a_line_and_a_band_a_method_and_differ_without_colour():
    shares = np.linspace(0, 1, 5)
    bands = {name: plots.Band(shares * k, shares * k - 0.1, shares * k + 0.1) for k, name in enumerate("abc", 1)}
    figure = plots.deletion_insertion(shares, bands, bands, clean=0.9)
    for axes in figure.axes:
        lines = axes.get_lines()[:3]
        np.testing.assert_allclose(lines[1].get_xdata(), 100 * shares)
        np.testing.assert_allclose(lines[1].get_ydata(), 2 * shares)
        assert len(axes.collections) == 3
        assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 3
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b", "c"]


def test_a_sweep_has_a_row_an_image_and_a_column_a_value():
    figure = plots.sweep([IMAGE, IMAGE], [np.stack([MAP] * 3)] * 2, ["1", "2", "3"], name="T =")
    assert [axes.get_title() for axes in figure.axes[:4]] == ["photograph", "T = 1", "T = 2", "T = 3"]
    assert len(figure.axes) == 8
    np.testing.assert_allclose(figure.axes[5].images[0].get_array(), plots.overlay(IMAGE, MAP))


def test_pairs_have_a_column_of_dissimilarity_only_where_a_method_has_it():
    one = {"probe_similar": MAP, "gallery_similar": MAP}
    both = one | {"probe_dissimilar": 1 - MAP, "gallery_dissimilar": 1 - MAP}
    figure = plots.pair_grid([(IMAGE, IMAGE)], {"cam": [one], "fame": [both]}, titles=["similarity 0.7"])
    assert [axes.get_title() for axes in figure.axes[:4]] == ["probe", "cam\ne+", "fame\ne+", "fame\ne−"]
    np.testing.assert_allclose(figure.axes[7].images[0].get_array(), plots.overlay(IMAGE, 1 - MAP))


def test_unknown_colours_are_refused_with_the_nearest():
    plots.check_colours("jet")
    with pytest.raises(plots.ColourError, match="did you mean viridis"):
        plots.check_colours("virids")

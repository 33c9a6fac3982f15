import numpy as np
import pytest

from activesam_ros.lettering import draw_text, fitting, text_width

INK = (200, 0, 0)


def drawn(text, left=10, halo=None):
    picture = np.full((60, 200, 3), 255, np.uint8)
    draw_text(picture, text, left, 40, 20, INK, halo)
    return picture


@pytest.mark.parametrize("pair", [("u", "ü"), ("cafe", "café"), ("дорога", "порога"), ("a\n", "a")])
def test_letters_of_many_scripts_and_signs_differ(pair):
    assert not np.array_equal(*map(drawn, pair))


def test_letters_that_the_usual_font_lacks_come_from_the_system():
    if np.array_equal(drawn("日"), drawn("本")):
        pytest.skip("no font of this system has Chinese characters")
    assert text_width("日本", 20) == pytest.approx(2 * text_width("日", 20), abs=1)


def test_capitals_have_the_height_and_stand_on_the_baseline():
    rows = np.flatnonzero((drawn("H") != 255).any(axis=(1, 2)))
    assert rows[-1] == 39 and 19 <= len(rows) <= 21
    columns = np.flatnonzero((drawn("HHH") != 255).any(axis=(0, 2)))
    assert 10 <= columns[0] <= 13 and columns[-1] <= 10 + text_width("HHH", 20)


@pytest.mark.parametrize("left", [-5000, -20, 190, 5000])
def test_what_lies_beyond_the_picture_is_cut_off(left):
    assert drawn("H" * 10, left).shape == (60, 200, 3)
    assert (drawn("H" * 10, left) != 255).any() == (abs(left) < 200)
    assert (drawn("H", 200 + 30) == 255).all()


def test_a_halo_lies_around_the_letters():
    picture = drawn("l", halo=(0, 0, 255))
    assert (picture == INK).all(axis=2).any() and (picture == (0, 0, 255)).all(axis=2).any()


def test_a_text_is_cut_to_a_width():
    assert fitting("road", 12, 500) == "road"
    cut = fitting("x" * 5000, 12, 100)
    assert cut.endswith("…") and 80 < text_width(cut, 12) <= 100

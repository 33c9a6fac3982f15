import numpy as np
import pytest

from activesam_ros.visualization import (
    colourise,
    draw_boxes,
    heat,
    legend,
    legend_sheet,
    name_regions,
    overlay,
    panels,
    stack,
)

TABLE = np.zeros((256, 3), np.uint8)
TABLE[1] = (200, 0, 0)
TABLE[2] = (0, 0, 200)


@pytest.fixture
def labels():
    labels = np.full((20, 30), 255, np.uint8)
    labels[5:15, 5:15] = 1
    labels[5:15, 15:25] = 2
    return labels


def test_colourise_looks_every_label_up(labels):
    picture = colourise(labels, TABLE)
    assert tuple(picture[10, 10]) == (200, 0, 0) and tuple(picture[10, 20]) == (0, 0, 200)
    assert tuple(picture[0, 0]) == (0, 0, 0)


def test_overlay_blends_labelled_pixels_and_leaves_the_others(labels):
    rgb = np.full((20, 30, 3), 100, np.uint8)
    before = rgb.copy()
    picture = overlay(rgb, labels, TABLE, 255, strength=0.5, contours=False)
    assert tuple(picture[10, 10]) == (150, 50, 50)
    assert tuple(picture[0, 0]) == (100, 100, 100)
    assert np.array_equal(rgb, before)


def test_overlay_draws_white_borders_between_labels(labels):
    picture = overlay(np.full((20, 30, 3), 100, np.uint8), labels, TABLE, 255)
    assert tuple(picture[10, 15]) == (255, 255, 255) and tuple(picture[5, 10]) == (255, 255, 255)
    assert tuple(picture[10, 12]) != (255, 255, 255)


def test_borders_scale_with_the_image():
    def border(height):
        labels = np.full((height, height), 1, np.uint8)
        labels[:, height // 2 :] = 2
        picture = overlay(np.zeros((height, height, 3), np.uint8), labels, TABLE, 255)
        return int((picture[0] == 255).all(axis=1).sum())

    assert border(240) == 1 and border(480) == 1 and border(2160) == 4


def test_regions_get_their_names_where_there_is_room(labels):
    large = np.kron(labels, np.ones((20, 20), np.uint8))
    picture = np.zeros((*large.shape, 3), np.uint8)
    name_regions(picture, large, {1: "road"})
    written = picture.any(axis=2)
    assert written[large == 1].sum() > 100 and not written[large != 1].any()
    rows, columns = np.nonzero(written)
    assert abs(rows.mean() - 200) < 12 and abs(columns.mean() - 200) < 12
    before = picture.copy()
    name_regions(picture, large, {1: "road"}, least_share=0.2)
    assert np.array_equal(picture, before)


def test_overlay_takes_sixteen_bit_labels():
    table = np.zeros((65536, 3), np.uint8)
    table[300] = (10, 20, 30)
    labels = np.full((4, 4), 300, np.uint16)
    picture = overlay(np.zeros((4, 4, 3), np.uint8), labels, table, 65535, strength=1.0)
    assert (picture == (10, 20, 30)).all()


def test_overlay_refuses_labels_of_another_size(labels):
    with pytest.raises(ValueError, match=r"10x10.*30x20"):
        overlay(np.zeros((10, 10, 3), np.uint8), labels, TABLE, 255)


def test_heat_rises_with_the_value():
    picture = heat(np.linspace(0, 1, 5, dtype=np.float32)[None])
    assert (np.diff(picture.sum(axis=2)[0].astype(int)) > 0).all()
    assert tuple(picture[0, -1]) == (255, 255, 255)
    assert np.array_equal(heat(np.array([[0, 255]], np.uint8))[0, [0, -1]], picture[0, [0, -1]])


def test_legend_shows_every_colour_and_wraps():
    names = [f"class number {index}" for index in range(12)]
    colours = np.array([(index * 20, 10, 250 - index * 20) for index in range(12)], np.uint8)
    wide, narrow = legend(names, colours, 2400), legend(names, colours, 300)
    for strip in (wide, narrow):
        pixels = {tuple(pixel) for pixel in strip.reshape(-1, 3).tolist()}
        assert {tuple(colour) for colour in colours.tolist()} <= pixels
    assert narrow.shape[1] == 300 and narrow.shape[0] > 3 * wide.shape[0]


def test_legend_cuts_a_name_that_is_longer_than_the_strip_instead_of_painting_outside():
    strip = legend(["x" * 500], np.array([(9, 9, 9)], np.uint8), 200)
    assert strip.shape[1] == 200
    assert (strip[:, -6:] == 255).all()


def test_legend_of_nothing_is_paper():
    assert (legend([], np.zeros((0, 3), np.uint8), 100) == 255).all()


def test_a_sheet_lists_every_class_with_its_colour_in_columns():
    names = [f"class {index}" for index in range(40)]
    colours = np.array([(index * 6, 10, 250 - index * 6) for index in range(40)], np.uint8)
    sheet = legend_sheet(range(40), names, colours)
    pixels = {tuple(pixel) for pixel in sheet.reshape(-1, 3).tolist()}
    assert {tuple(colour) for colour in colours.tolist()} <= pixels
    few = legend_sheet(range(5), names[:5], colours[:5])
    assert few.shape[0] < sheet.shape[0] < 40 * 20 and few.shape[1] < sheet.shape[1]


def test_a_sheet_tells_ids_apart_and_names_apart():
    colours = np.array([(200, 0, 0)], np.uint8)
    one = legend_sheet([3], ["road"], colours)
    assert not np.array_equal(one, legend_sheet([8], ["road"], colours))
    assert not np.array_equal(legend_sheet([3], ["café"], colours), legend_sheet([3], ["cafe"], colours))
    assert not np.array_equal(legend_sheet([3], ["cafe"], colours), legend_sheet([3], ["care"], colours))


def test_a_sheet_has_classes_that_are_not_active_in_grey():
    colours = np.array([(200, 0, 0), (0, 200, 0)], np.uint8)
    black, mixed = (
        legend_sheet([1, 2], ["road", "sky"], colours, active=one) for one in (None, (True, False))
    )
    middle = len(black) // 2
    assert np.array_equal(mixed[: middle - 1], black[: middle - 1])
    assert mixed[middle + 1 :].min() == 0 and (mixed[middle + 1 :] >= black[middle + 1 :]).all()
    assert (mixed[middle + 1 :] > black[middle + 1 :]).any()


def test_a_sheet_has_its_limits():
    many = np.full((2000, 3), 7, np.uint8)
    sheet = legend_sheet(range(2000), ["x" * 5000] * 2000, many, most=100)
    assert sheet.shape[0] < 1000 and sheet.shape[1] < 3000
    assert (sheet[:, -6:] == 255).all()
    assert (legend_sheet([], [], np.zeros((0, 3), np.uint8)) == 255).all()


def test_panels_keep_every_image_whole_and_label_colours_exact(labels):
    picture = panels(
        [np.full((20, 30, 3), (7, 8, 9), np.uint8), colourise(labels, TABLE), np.zeros((20, 30), np.uint8)],
        ["input", "labels", ""],
        columns=2,
        height=40,
    )
    flat = picture.reshape(-1, 3)
    assert (flat == (7, 8, 9)).all(axis=1).sum() == 40 * 60
    assert (flat == (200, 0, 0)).all(axis=1).sum() == 20 * 20
    assert (flat == 0).all(axis=1).sum() == 40 * 60 + (40 * 60 - 2 * 20 * 20)
    assert picture.shape[0] > 80 and picture.shape[1] > 120


@pytest.mark.parametrize(("images", "titles"), [([], []), ([np.zeros((2, 2, 3), np.uint8)], ["a", "b"])])
def test_panels_refuse_titles_that_do_not_match(images, titles):
    with pytest.raises(ValueError, match="titles"):
        panels(images, titles)


def test_stack_aligns_left_on_white():
    picture = stack(np.zeros((2, 4, 3), np.uint8), np.zeros((3, 2, 3), np.uint8))
    assert picture.shape == (5, 4, 3)
    assert (picture[2:, 2:] == 255).all() and not picture[2:, :2].any()


def test_boxes_beyond_the_picture_are_drawn_as_far_as_it_goes():
    picture = np.zeros((40, 60, 3), np.uint8)
    draw_boxes(
        picture, [(10.4, 20.2, 50.0, 35.0), (-5.0, -9.0, 900.0, 80.0)], ["a", "wider than all"], TABLE[1:3]
    )
    assert tuple(picture[35, 30]) == (200, 0, 0) and tuple(picture[39, 30]) == (0, 0, 200)
    assert tuple(picture[30, 30]) == (0, 0, 0)
    unchanged = picture.copy()
    draw_boxes(picture, [], [], TABLE[:0])
    assert np.array_equal(picture, unchanged)

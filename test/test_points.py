"""Points from depth: against OpenCV's projection, which goes the other way."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from activesam_ros.errors import CalibrationError, ImageError
from activesam_ros.points import POINT, Calibration, labelled_points, resized_depth

WIDTH, HEIGHT = 64, 48
K = (50.0, 52.0, 30.5, 25.0)
MODELS = {
    "": [],
    "plumb_bob": [-0.3, 0.1, 0.001, -0.002, 0.02],
    "rational_polynomial": [0.3, -0.1, 0.001, -0.002, 0.01, 0.4, -0.1, 0.02],
    "equidistant": [0.05, -0.01, 0.002, -0.001],
}


def info(model="plumb_bob", d=(), k=K, p=(40.0, 41.0, 31.0, 24.0), binning=(0, 0), roi=(0, 0, 0, 0), **size):
    fx, fy, cx, cy = k
    a, b, c, e = p
    return SimpleNamespace(
        width=size.get("width", WIDTH),
        height=size.get("height", HEIGHT),
        distortion_model=model,
        d=list(d),
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        p=[a, 0.0, c, -5.0, 0.0, b, e, 0.0, 0.0, 0.0, 1.0, 0.0],
        binning_x=binning[0],
        binning_y=binning[1],
        roi=SimpleNamespace(x_offset=roi[0], y_offset=roi[1], width=roi[2], height=roi[3]),
    )


def grid():
    return np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1)


@pytest.mark.parametrize("model", MODELS)
def test_every_ray_leads_back_to_its_pixel(model):
    rays = Calibration.from_camera_info(info(model, MODELS[model])).rays()
    points = np.dstack([rays, np.ones(rays.shape[:2])]).reshape(-1, 1, 3).astype(np.float64)
    k = np.array([[K[0], 0, K[2]], [0, K[1], K[3]], [0, 0, 1]])
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    distortion = np.array(MODELS[model] or [0.0] * 4)
    back = project(points, np.zeros(3), np.zeros(3), k, distortion)[0].reshape(HEIGHT, WIDTH, 2)
    assert np.abs(back - grid()).max() < 0.01


def test_a_pixel_without_a_ray_has_no_point():
    # So strong that the image of all rays ends inside the picture.
    rays = Calibration.from_camera_info(info(d=[-0.9, 0, 0, 0, 0])).rays()
    assert np.isnan(rays[0, 0]).all() and np.isfinite(rays[25, 30]).all()
    found = labelled_points(
        rays, np.ones((HEIGHT, WIDTH), np.float32), np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((1, 3))
    )
    assert 0 < len(found) < HEIGHT * WIDTH and np.isfinite(found["x"]).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "given", [{"k": (5e-324, 1e308, 1e308, 0.0)}, {"d": [1e308, -1e308, 0.1, 0.1, 3e38]}]
)
def test_any_number_in_a_calibration_gives_points_or_none(given):
    rays = Calibration.from_camera_info(info(**given)).rays()
    depth, labels = np.full((HEIGHT, WIDTH), 3e38, np.float32), np.zeros((HEIGHT, WIDTH), np.uint8)
    assert len(labelled_points(rays, depth, labels, np.zeros((1, 3), np.uint8))) == 0


def test_a_rectified_image_uses_p_and_no_distortion():
    rays = Calibration.from_camera_info(info("unknown", [1.0]), rectified=True).rays()
    assert np.allclose(rays, (grid() - (31.0, 24.0)) / (40.0, 41.0), atol=1e-6)


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_region_and_binning_choose_pixels_of_the_full_image(model):
    full = Calibration.from_camera_info(info(model, MODELS[model])).rays()
    part = Calibration.from_camera_info(info(model, MODELS[model], binning=(2, 3), roi=(10, 6, 40, 30)))
    assert (part.width, part.height) == (20, 10)
    assert np.allclose(part.rays(), full[6:36:3, 10:50:2], atol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"k": (0.0, 0.0, 0.0, 0.0)}, "fx 0 and fy 0 in K.*calibrate"),
        ({"k": (float("nan"), 1.0, 0.0, 0.0)}, "fx nan"),
        ({"model": "double_sphere"}, "'double_sphere' is not known.*rectif"),
        ({"d": [0.1, 0.2]}, "2 coefficients.*expected 4 or 5"),
        ({"model": "equidistant", "d": []}, "0 coefficients.*expected 4"),
        ({"d": [float("inf")] * 5}, "no numbers"),
        ({"width": 0}, "0x48"),
    ],
)
def test_what_is_no_calibration_is_refused(given, said):
    with pytest.raises(CalibrationError, match=said):
        Calibration.from_camera_info(info(**given))


def test_depth_of_another_size_is_scaled_by_the_nearest_or_refused():
    depth = np.array([[1.0, np.nan], [3.0, 4.0]], np.float32)
    scaled = resized_depth(depth, 4, 4)
    assert np.array_equal(scaled, depth.repeat(2, 0).repeat(2, 1), equal_nan=True)
    assert resized_depth(depth, 2, 2) is depth
    with pytest.raises(ImageError, match=r"2x2 and the label image 4x3.*aspect.*register"):
        resized_depth(depth, 4, 3)


@pytest.fixture
def scene():
    """Rays, depth with all that can be missing, labels, colours, confidence, instances."""
    rays = Calibration(4, 2, (1.0, 1.0, 0.0, 0.0)).rays()
    depth = np.array([[2, 0, np.nan, np.inf], [-1, 2, 2, 2]], np.float32)
    labels = np.array([[0, 1, 2, 3], [300, 1, 2, 255]], np.uint16)
    colours = np.array([[255, 0, 0], [0, 255, 0], [1, 2, 3]], np.uint8)
    return rays, depth, labels, colours, np.full((2, 4), 51, np.uint8), labels + 1


def test_points_carry_what_is_known_of_their_pixel(scene):
    found = labelled_points(*scene)
    assert found.dtype == POINT and POINT.itemsize == 28
    assert found[["x", "y", "z"]].tolist() == [(0, 0, 2), (2, 2, 2), (4, 2, 2), (6, 2, 2)]
    assert found["label"].tolist() == [0, 1, 2, 255] and found["instance"].tolist() == [1, 2, 3, 256]
    # An id that has no colour gets the last one.
    assert found["rgb"].tolist() == [0xFF0000, 0x00FF00, 0x010203, 0x010203]
    assert found["confidence"] == pytest.approx(0.2)
    plain = labelled_points(*scene[:4])
    assert not plain["confidence"].any() and not plain["instance"].any()


def test_an_organized_cloud_has_one_point_per_pixel(scene):
    found = labelled_points(*scene, organized=True)
    assert found.shape == (2, 4) and np.array_equal(found["label"], scene[2])
    missing = np.isnan(found["x"]) & np.isnan(found["y"]) & np.isnan(found["z"])
    assert missing.tolist() == [[False, True, True, True], [True, False, False, False]]
    dense = labelled_points(*scene)
    assert np.array_equal(found[~missing], dense)


def test_some_ids_have_no_points(scene):
    kept = np.array([True, False, False])
    assert labelled_points(*scene, kept=kept)["label"].tolist() == [0]
    assert labelled_points(*scene, kept=~kept)["label"].tolist() == [1, 2, 255]
    organized = labelled_points(*scene, kept=kept, organized=True)
    assert np.isfinite(organized["z"]).sum() == 1 and np.array_equal(organized["label"], scene[2])


def test_stride_and_range_are_kept(scene):
    assert labelled_points(*scene, stride=2, organized=True).shape == (1, 2)
    assert labelled_points(*scene, stride=2).tolist() == labelled_points(*scene)[:1].tolist()
    # Distances from the camera: 2, sqrt(12), sqrt(24), sqrt(44).
    near = labelled_points(*scene, min_range=3.0, max_range=5.0)
    assert near["label"].tolist() == [1, 2]

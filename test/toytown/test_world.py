"""The toy world: its classes, and scenes that are deterministic, exactly labelled and coherent along a drive."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from activesam_ros.toytown import (
    CLASS_ID,
    CLASSES,
    DEMO_CLASSES,
    FOREIGN,
    HYPERNYMS,
    SUPERCLASSES,
    SYNONYMS,
    THINGS,
    UNSEEN_FOREIGN,
    VOID,
)
from activesam_ros.toytown.canvas import Camera, Canvas
from activesam_ros.toytown.world import World
from activesam_ros.vocabulary import Vocabulary


def test_nineteen_classes_each_first_among_its_own_synonyms():
    assert len(CLASSES) == 19
    assert all(synonyms[0] == name and len(synonyms) >= 4 for name, synonyms in SYNONYMS.items())
    assert set(HYPERNYMS) == set(CLASSES)
    assert all(set(parts) < set(CLASSES) for parts in SUPERCLASSES.values())


def test_foreign_classes_name_nothing_in_the_world():
    street = {prompt for synonyms in SYNONYMS.values() for prompt in synonyms}
    assert not street & {*FOREIGN, *UNSEEN_FOREIGN}
    assert not set(FOREIGN) & set(UNSEEN_FOREIGN)
    assert len(set(FOREIGN)) == len(FOREIGN) and len(set(UNSEEN_FOREIGN)) == len(UNSEEN_FOREIGN)


def test_the_demo_vocabulary_has_sixty_classes_some_never_trained_on():
    assert len(set(DEMO_CLASSES)) == 60
    assert DEMO_CLASSES[:19] == CLASSES
    assert set(DEMO_CLASSES[19:]) <= {*FOREIGN, *UNSEEN_FOREIGN}
    assert sum(name in UNSEEN_FOREIGN for name in DEMO_CLASSES) == 10
    assert len(Vocabulary.from_names(list(DEMO_CLASSES))) == 60


def test_equal_seed_and_time_give_equal_frames_whatever_was_rendered_before():
    world = World(7)
    for t in (11.0, 0.5, 4.0):
        world.render(t)
    again, fresh = world.render(4.0), World(7).render(4.0)
    for part in ("rgb", "labels", "instances"):
        np.testing.assert_array_equal(getattr(again, part), getattr(fresh, part))


def test_other_seeds_give_other_streets():
    assert (World(1).render().labels != World(2).render().labels).mean() > 0.05


@pytest.mark.parametrize(("width", "height"), [(320, 240), (640, 480), (200, 333)])
def test_any_size(width, height):
    frame = World(3, width, height).render(2.0)
    assert frame.rgb.shape == (height, width, 3) and frame.rgb.dtype == np.uint8
    assert frame.labels.shape == frame.instances.shape == (height, width)
    assert frame.labels.dtype == np.uint8 and frame.instances.dtype == np.uint16


def test_a_larger_picture_shows_the_same_street():
    small, large = World(5).render(3.0), World(5, 640, 480).render(3.0)
    known = small.labels != VOID
    assert (small.labels == large.labels[1::2, 1::2])[known].mean() > 0.97


def test_impossible_worlds_and_times_are_refused():
    with pytest.raises(ValueError, match="seed"):
        World(-1)
    with pytest.raises(ValueError, match="32"):
        World(0, 16, 16)
    with pytest.raises(ValueError, match="seconds"):
        World(0).render(-0.1)


@pytest.mark.parametrize("seed", range(12))
def test_labels_and_instances_agree(seed):
    frame = World(seed).render(seed * 1.7)
    assert set(np.unique(frame.labels)) <= {*range(len(CLASSES)), VOID}
    thing = np.isin(frame.labels, list(THINGS))
    np.testing.assert_array_equal(frame.instances > 0, thing)
    for number in np.unique(frame.instances[thing]):
        own = frame.instances == number
        assert len(np.unique(frame.labels[own])) == 1
        assert own.sum() >= 100


def test_nothing_is_a_few_pixels_and_little_is_void():
    void = 0
    for seed in range(20):
        labels = World(seed).render(5.0).labels
        counts = np.bincount(labels.ravel(), minlength=256)
        void += counts[VOID]
        assert all(count == 0 or count >= 100 for count in counts[: len(CLASSES)])
    assert void < 0.01 * 20 * labels.size


def test_labels_follow_the_picture():
    """Where the label image has an edge between things and sky, the picture's colour changes too."""
    steps, flat = [], []
    for seed in range(10):
        frame = World(seed).render(3.0)
        rgb = frame.rgb.astype(int)
        change = np.abs(rgb[:, 3:] - rgb[:, :-3]).sum(-1)[:, 1:-1]
        sky = frame.labels == CLASS_ID["sky"]
        left, right = sky[:, 1:-4], sky[:, 4:-1]
        steps.append(change[:, : left.shape[1]][left & ~right])
        flat.append(change[:, : left.shape[1]][left & right])
    assert np.median(np.concatenate(steps)) > 6 * np.median(np.concatenate(flat))


def test_a_drive_is_coherent_and_moves_on():
    world = World(11)
    frames = [world.render(6 + i / 10) for i in range(12)]
    changes = [(a.labels != b.labels).mean() for a, b in pairwise(frames)]
    assert 0 < np.median(changes) < 0.1
    assert (frames[0].labels != world.render(26.0).labels).mean() > np.median(changes)
    shared = [
        len(np.intersect1d(a.instances, b.instances)) - 1 for a, b in pairwise(frames) if a.instances.any()
    ]
    assert sum(shared) > 0


def test_a_long_drive_keeps_having_things_to_see():
    for seed in (0, 1, 2):
        world = World(seed)
        seen = [np.isin(world.render(t).labels, list(THINGS)).any() for t in np.arange(0, 30, 1.5)]
        assert np.mean(seen) > 0.8


def test_every_class_occurs_and_every_thing_is_often_absent():
    present = np.zeros(len(CLASSES))
    count = 120
    for seed in range(count):
        present += (
            np.bincount(World(500 + seed).render(seed % 20).labels.ravel(), minlength=256)[: len(CLASSES)] > 0
        )
    share = dict(zip(CLASSES, present / count, strict=True))
    for index in THINGS:
        assert 0.15 <= share[CLASSES[index]] <= 0.6, share
    assert min(share.values()) > 0.15


def test_every_face_has_the_depth_of_its_plane():
    camera = Camera(160, 120, 100.0, (80.0, 60.0), 0.3, 1.7, 5.0)
    faces = {
        "ground": ("ground", (-3, 3, 6, 30), lambda x, y, z: y),
        "front": ("front", (12.0, -2, 3, 0, 2), lambda x, y, z: z - 12),
        "side": ("side", (2.5, 4, 20, 0, 3), lambda x, y, z: x - 2.5),
        "roof": ("trapezoid", (0, (2, 0.5, 9), (1, 1.5, 14)), lambda x, y, z: (y - 0.5) / 1 - (z - 9) / 5),
    }
    rows, columns = np.mgrid[:120, :160]
    for name, (method, numbers, off) in faces.items():
        canvas = Canvas(camera, measured=True)
        canvas.begin(1)
        getattr(canvas, method)(*numbers, (9, 9, 9))
        drawn = canvas.parts > 0
        assert drawn.sum() > 100 and np.isinf(canvas.depth[~drawn]).all(), name
        z = canvas.depth[drawn].astype(float)
        x = camera.x + (columns[drawn] - 80) / 100 * z
        y = camera.y - (rows[drawn] - 60) / 100 * z
        # A pixel at the edge of the image may show the plane a little beyond the face, but never off it.
        assert np.abs(off(x, y, camera.z + z)).max() < 1e-4, name


def test_depth_changes_nothing_else_and_fits_the_labels():
    world = World(10_000_007, 320, 240)
    plain, frame, camera = world.render(2.0), world.render(2.0, measured=True), world.camera(2.0)
    assert plain.depth is None
    for part in ("rgb", "labels", "instances"):
        np.testing.assert_array_equal(getattr(plain, part), getattr(frame, part))
    assert np.isinf(frame.depth[frame.labels == CLASS_ID["sky"]]).all()
    rows = np.nonzero(frame.labels == CLASS_ID["road"])[0]
    ground = camera.y * camera.focal / (rows - camera.centre[1])
    assert np.allclose(frame.depth[frame.labels == CLASS_ID["road"]], ground, rtol=1e-5)
    for name in ("person", "rider", "bicycle"):
        for number in set(frame.instances[frame.labels == CLASS_ID[name]].tolist()) - {0}:
            (foot,) = np.unique(frame.depth[frame.instances == number])
            assert 2 < foot < 20

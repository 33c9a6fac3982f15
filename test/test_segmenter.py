"""The segmenter on the demo model: results, tiny vocabularies, swaps, refusals."""

import subprocess
import sys
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from activesam_ros import segmenter as segmenter_module
from activesam_ros.errors import ImageError, ModelError, OutOfMemoryError, SettingsError, VocabularyError
from activesam_ros.evaluation.methods import workload_of
from activesam_ros.model.compiling import torch_compiler
from activesam_ros.model.flops import FusedModelFlops, counted
from activesam_ros.model.fused.detr import FusedEncoder
from activesam_ros.model.vision_encoder import VisionEncoder
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.results import PooledMap
from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings
from activesam_ros.settings import PROFILES
from activesam_ros.stages.batch_size import PATIENCE
from activesam_ros.toytown import CLASSES, DEMO_CLASSES
from activesam_ros.vocabulary import Vocabulary

TABLE = TableHypernyms.shipped()


@pytest.fixture
def make(toytown_checkpoint):
    """Makes a segmenter with a vocabulary and settings over the shared demo model."""

    def build(words, background=None, **settings):
        segmenter = ActiveSegmenter(toytown_checkpoint, SegmenterSettings(**settings), TABLE)
        segmenter.set_vocabulary(Vocabulary.from_names(words, background=background))
        return segmenter

    return build


def test_a_street_with_the_preview(make, street_image):
    segmenter = make(DEMO_CLASSES)
    result = segmenter.segment(street_image)
    assert (segmenter.full_resolution, segmenter.preview_resolution) == (192, 128)
    assert result.labels.shape == (240, 320) and result.labels.dtype == np.uint8
    assert result.confidence.shape == (240, 320) and result.confidence.dtype == np.float32
    assert result.confidence.min() >= 0 and result.confidence.max() <= 1
    assert result.preview_presence.shape == (60,)
    assert list(result.active_prompts) == sorted(result.active_prompts)
    assert len(result.active_prompts) == 12
    assert [entry.name for entry in result.active] == [DEMO_CLASSES[query] for query in result.active_prompts]
    assert set(np.unique(result.labels)) <= set(result.active_prompts)
    assert sum(entry.pixels for entry in result.active) == 240 * 320
    for entry in result.active:
        assert entry.pixels == np.count_nonzero(result.labels == entry.class_id)
        assert entry.preview_presence == pytest.approx(result.preview_presence[entry.class_id])
    stages = {name: seconds for name, seconds in result.timings.items() if name != "total"}
    assert set(stages) == {"prepare", "preview", "encode", "decode", "fuse"}
    assert sum(stages.values()) <= result.timings["total"]


def test_a_small_vocabulary_skips_the_preview(make, street_image):
    result = make(CLASSES).segment(street_image)
    assert result.preview_presence is None
    assert result.active_prompts == tuple(range(19))
    assert all(entry.preview_presence is None for entry in result.active)


@pytest.mark.parametrize("bucket_size", [1, 7, 19])
def test_buckets_change_nothing(make, street_image, bucket_size):
    expected = make(CLASSES).segment(street_image)
    result = make(CLASSES, bucket_size=bucket_size).segment(street_image)
    np.testing.assert_allclose(result.confidence, expected.confidence, atol=1e-5)
    assert (result.labels == expected.labels).mean() > 0.9999


@pytest.mark.parametrize("words", [["road"], ["road", "sky"], ["road", "sky", "car, automobile"]])
@pytest.mark.parametrize("threshold", [0.0, 0.4])
def test_tiny_vocabularies(make, street_image, words, threshold):
    result = make(words, background_threshold=threshold).segment(street_image)
    allowed = set(range(len(words))) | ({255} if threshold else set())
    assert set(np.unique(result.labels)) <= allowed
    assert np.isfinite(result.confidence).all()
    if threshold and len(words) == 1:
        # With one class the runner-up scores 0, so the class keeps its sure pixels and loses the others.
        road = result.labels == 0
        assert 0.05 < road.mean() < 0.95
        assert road[-20:, 150:170].mean() > 0.5


def test_calibration_clears_the_confidence(make, street_image):
    words = [*CLASSES, "nothing"]
    plain = make(words, background_threshold=0.6).segment(street_image)
    taken = plain.labels == plain.unlabeled_id
    assert 0 < taken.mean() < 1
    assert (plain.confidence[taken] == 0).all() and (plain.confidence[~taken] > 0).all()
    named = make(words, background="nothing", background_threshold=0.6).segment(street_image)
    assert (named.labels[taken] == 19).all()
    assert (named.confidence[taken] == 0).all()


def test_aliases_share_a_class(make, street_image):
    bare = {"neighbor_tokens": 0, "hypernym_tokens": 0}
    result = make(["tree, bush, hedge", "road, street", "sky"], **bare).segment(street_image)
    assert [entry.name for entry in result.active] == ["tree", "road", "sky"]
    alone = [make([word], **bare).segment(street_image).active[0].presence for word in ("road", "street")]
    assert result.active[1].presence == pytest.approx(max(alone), abs=1e-4)


def test_many_classes_need_16_bits(make, street_image):
    words = [*(f"zq {index}" for index in range(250)), *CLASSES]
    result = make(words, max_active=20).segment(street_image)
    assert result.labels.dtype == np.uint16 and result.unlabeled_id == 65_535
    assert set(np.unique(result.labels)) <= set(result.active_prompts)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (333, 7), (480, 640)])
def test_any_image_size(make, size):
    rgb = np.full((*size, 3), 127, np.uint8)
    segmenter = make(["road", "sky"], full_resolution=128)
    result = segmenter.segment(rgb)
    assert result.labels.shape == result.confidence.shape == size
    assert (segmenter.device, segmenter.dtype, segmenter.device_memory()) == ("cpu", "float32", None)
    assert segmenter.encode_images([]) == segmenter.preview([]) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"settings": SegmenterSettings(full_resolution=190)}, "multiple of the model's patch size 8"),
        ({"settings": SegmenterSettings(preview_resolution=100)}, "multiple of the model's patch size 8"),
        ({"text_encoder": "forever"}, "text_encoder is 'forever'; expected one of 'keep'"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(toytown_checkpoint, arguments, words):
    with pytest.raises(SettingsError, match=words):
        ActiveSegmenter(toytown_checkpoint, **arguments)


def test_a_vocabulary_comes_first(toytown_checkpoint, street_image):
    segmenter = ActiveSegmenter(toytown_checkpoint)
    assert segmenter.vocabulary is None
    with pytest.raises(VocabularyError, match="set_vocabulary"):
        segmenter.segment(street_image)


def test_other_settings_over_the_same_weights(make, street_image):
    segmenter = make(CLASSES)
    calibrated = segmenter.with_settings(SegmenterSettings(background_threshold=0.6))
    assert calibrated.prompts is segmenter.prompts
    assert (calibrated.segment(street_image).labels == 255).any()
    bare = segmenter.with_settings(SegmenterSettings(neighbor_tokens=0, hypernym_tokens=0))
    assert bare.prompts.context.tokens.shape[1] == 0
    assert not (segmenter.segment(street_image).labels == 255).any()
    with pytest.raises(SettingsError, match="encode the vocabulary"):
        bare.use(segmenter.prompts)


def test_settings_are_checked_and_taken_without_encoding_anything(make, monkeypatch, caplog):
    segmenter = make(["road", "sky"])
    monkeypatch.setattr(ActiveSegmenter, "encode", None)
    monkeypatch.setattr(VisionEncoder, "__init__", None)
    with pytest.raises(SettingsError, match="preview_resolution is 100"):
        segmenter.check_settings(SegmenterSettings(preview_resolution=100))
    with caplog.at_level("INFO"):
        caplog.clear()  # Another test may have left more to be logged.
        segmenter.check_settings(SegmenterSettings(preview_resolution=400))
        assert segmenter.preview_resolution == 128 and not caplog.text  # Nobody asked for another one.
        other = segmenter.with_settings(
            SegmenterSettings(neighbor_tokens=0, preview_resolution=400), follow=False
        )
        assert other.prompts is None and segmenter.prompts is not None
        other.with_settings(replace(other.settings, confidence_threshold=0.5))
    assert [one.getMessage() for one in caplog.records] == [
        "preview_resolution 400 is not below the full resolution 192; previewing at 128"
    ]


def test_swaps_never_mix_vocabularies(make, street_image):
    segmenter = make(["road", "sky"])
    sets = [
        segmenter.encode(Vocabulary.from_names(words))
        for words in (["road", "sky"], ["car", "wall", "bus", "tree"])
    ]
    stop = threading.Event()

    def swap():
        turn = 0
        while not stop.wait(0.001):
            segmenter.use(sets[turn % 2])
            turn += 1

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    try:
        for _ in range(100):
            result = segmenter.segment(street_image[::4, ::4])
            names = tuple(entry.name for entry in result.active)
            assert names == result.vocabulary.names
            assert result.labels.max() < len(names)
            seen.add(names)
            if len(seen) == 2:
                break
    finally:
        stop.set()
        swapper.join()
    assert len(seen) == 2


@pytest.fixture(scope="session")
def images(street_image):
    """Three views of different sizes."""
    return [street_image, street_image[:100, ::-1], street_image[::2, ::3]]


def same_result(one, other):
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-5, rtol=0)
    assert one.active_prompts == other.active_prompts
    for found, expected in zip(one.active, other.active, strict=True):
        assert found.presence == pytest.approx(expected.presence, abs=1e-5)
        assert (found.class_id, found.name, found.pixels) == (
            expected.class_id,
            expected.name,
            expected.pixels,
        )


@pytest.mark.parametrize("words", [DEMO_CLASSES, CLASSES])
def test_a_batch_equals_its_images(make, images, words):
    segmenter = make(words)
    encoded = segmenter.encode_images(images)
    assert len({one.timings["total"] for one in encoded}) == 1
    for one, rgb in zip(encoded, images, strict=True):
        result = segmenter.decode(one)
        same_result(result, segmenter.segment(rgb))
        stages = dict(result.timings)
        total = stages.pop("total")
        assert sum(stages.values()) <= total and set(one.timings) <= set(result.timings)


def test_a_long_list_keeps_the_features_of_a_few_images(make, images, monkeypatch):
    monkeypatch.setattr(segmenter_module, "_IMAGES_TOGETHER", 2)
    segmenter = make(CLASSES)
    kept, batches = [], []
    encode = ActiveSegmenter.encode_images

    def watched(self, some, *arguments):
        assert not any(one() for one in kept)
        encoded = encode(self, some, *arguments)
        kept.extend(weakref.ref(one) for one in encoded)
        batches.append(len(encoded))
        return encoded

    monkeypatch.setattr(ActiveSegmenter, "encode_images", watched)
    found = segmenter([*images, *images[:2]])
    assert batches == [2, 2, 1]
    monkeypatch.undo()
    for result, rgb in zip(found, [*images, *images[:2]], strict=True):
        same_result(result, segmenter.segment(rgb))


def test_a_batch_passes_the_vision_encoder_once_a_resolution(make, images, monkeypatch):
    segmenter = make(DEMO_CLASSES)
    passed = []
    encode = VisionEncoder.encode

    def counted(encoder, pixels):
        passed.append(tuple(pixels.shape))
        return encode(encoder, pixels)

    monkeypatch.setattr(VisionEncoder, "encode", counted)
    segmenter.encode_images(images)
    assert passed == [(3, 3, 128, 128), (3, 3, 192, 192)]
    segmenter.preview(images)
    assert passed[2:] == [(3, 3, 128, 128)]


def test_the_features_of_the_preview_are_gone_before_the_full_resolution(make, images, monkeypatch):
    segmenter = make(DEMO_CLASSES)
    alive = []
    encode = VisionEncoder.encode

    def watched(encoder, pixels):
        alive.append([reference() is not None for reference in references])
        features = encode(encoder, pixels)
        references.extend(map(weakref.ref, (pixels, *features.levels)))
        return features

    references = []
    monkeypatch.setattr(VisionEncoder, "encode", watched)
    segmenter.encode_images(images)
    assert alive[0] == [] and len(alive[1]) > 1 and not any(alive[1])


def test_an_encoded_image_keeps_its_vocabulary(make, street_image):
    segmenter = make(["road", "sky"])
    encoded = segmenter.encode_images([street_image])
    segmenter.set_vocabulary(Vocabulary.from_names(["car", "tree", "bus"]))
    assert segmenter.decode(encoded[0]).vocabulary.names == ("road", "sky")


@pytest.mark.parametrize("words", [DEMO_CLASSES, ["sky", "car, automobile"]])
def test_the_preview_alone(make, images, words):
    segmenter = make(words, max_active=10)
    for preview, rgb in zip(segmenter.preview(images), images, strict=True):
        result = segmenter.segment(rgb)
        assert preview.active_prompts == result.active_prompts
        assert [entry.class_id for entry in preview.active] == [entry.class_id for entry in result.active]
        assert preview.preview_presence.dtype == np.float32
        assert preview.preview_presence.shape == (len(segmenter.prompts),)
        assert all(entry.pixels is None for entry in preview.active)
        assert set(preview.timings) == {"prepare", "preview", "total"}
        assert preview.vocabulary is segmenter.vocabulary
        if result.preview_presence is not None:
            np.testing.assert_allclose(preview.preview_presence, result.preview_presence, atol=1e-5)
        owner = segmenter.vocabulary.prompt_classes
        for entry in preview.active:
            own = [prompt for prompt in preview.active_prompts if owner[prompt] == entry.class_id]
            assert entry.presence == entry.preview_presence == preview.preview_presence[own].max()


class ShortOfMemory:
    """A device with room for so many prompts, and so many images, at once."""

    def __init__(self, monkeypatch):
        self.prompts = self.images = 10**6
        transform, encode = FusedEncoder.encode, VisionEncoder.encode

        def transformed(encoder, start, tokens, valid):
            self.require(len(tokens), self.prompts)
            return transform(encoder, start, tokens, valid)

        def encoded(encoder, pixels):
            self.require(len(pixels), self.images)
            return encode(encoder, pixels)

        monkeypatch.setattr(FusedEncoder, "encode", transformed)
        monkeypatch.setattr(VisionEncoder, "encode", encoded)

    @staticmethod
    def require(wanted, room):
        if wanted > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.fixture
def short_of_memory(monkeypatch):
    return ShortOfMemory(monkeypatch)


def test_smaller_buckets_where_memory_is_short(make, images, short_of_memory):
    segmenter = make(DEMO_CLASSES)
    expected = [segmenter.segment(rgb) for rgb in images]
    short_of_memory.prompts = 5
    for rgb, result in zip(images, expected, strict=True):
        same_result(segmenter.segment(rgb), result)
    assert segmenter.bucket_size == 4
    # The room belongs to the device, not to the settings.
    assert segmenter.with_settings(SegmenterSettings(keep_fraction=0.5)).bucket_size == 4
    assert segmenter.with_settings(SegmenterSettings(bucket_size=2)).bucket_size == 2


def test_the_bucket_size_recovers(make, street_image, short_of_memory):
    segmenter = make(["road", "sky", "tree", "car"])
    short_of_memory.prompts = 1
    small = street_image[::8, ::8]
    segmenter.segment(small)
    assert segmenter.bucket_size == 1
    short_of_memory.prompts = 10**6
    for _ in range(PATIENCE):
        segmenter.segment(small)
    assert segmenter.bucket_size == 2
    for _ in range(PATIENCE):
        segmenter.preview([small])
    assert segmenter.bucket_size == 4


def test_image_by_image_where_a_batch_does_not_fit(make, images, short_of_memory):
    segmenter = make(DEMO_CLASSES)
    expected = [segmenter.segment(rgb) for rgb in images]
    previews = segmenter.preview(images)
    short_of_memory.images = 1
    for one, result in zip(segmenter.encode_images(images), expected, strict=True):
        same_result(segmenter.decode(one), result)
    for one, other in zip(segmenter.preview(images), previews, strict=True):
        np.testing.assert_allclose(one.preview_presence, other.preview_presence, atol=1e-5)
    assert segmenter.bucket_size == 32


@pytest.mark.parametrize("what", ["prompts", "images"])
def test_no_room_at_all_is_one_sentence(make, images, short_of_memory, what):
    segmenter = make(DEMO_CLASSES)
    expected = segmenter.segment(images[0])
    setattr(short_of_memory, what, 0)
    for work in (segmenter.encode_images, segmenter.preview, lambda images: segmenter.segment(images[0])):
        with pytest.raises(OutOfMemoryError, match=f"even one {what[:-1]} at a time"):
            work(images)
    setattr(short_of_memory, what, 10**6)
    same_result(segmenter.segment(images[0]), expected)


SHORT = """
import resource
from pathlib import Path

import numpy as np
import torch

from activesam_ros.segmenter import ActiveSegmenter, SegmenterSettings
from activesam_ros.vocabulary import Vocabulary

torch.set_num_threads(1)
small = ActiveSegmenter.from_pretrained(
    "toytown", "cpu", settings=SegmenterSettings(bucket_size=8, max_active=300), prompt_cache=None
)
small.set_vocabulary(Vocabulary.from_names([f"word {number}" for number in range(128)]))
rgb = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
expected = small.segment(rgb)
large = small.with_settings(SegmenterSettings(bucket_size=128, max_active=300))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (40 << 20), resource.RLIM_INFINITY))
result = large.segment(rgb)
print(large.bucket_size, np.abs(result.confidence - expected.confidence).max() < 1e-5)
"""


def test_a_machine_that_really_is_short_of_memory():
    """The process may grow by 40 MB, less than one array of 128 prompts at a time."""
    done = subprocess.run([sys.executable, "-c", SHORT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    bucket_size, same = done.stdout.split()
    assert 1 <= int(bucket_size) <= 64 and same == "True"


def test_no_memory_for_the_prompts(make, monkeypatch):
    segmenter = make(["road"])

    def fail(*args):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("activesam_ros.prompts.prompt_set.pad_tokens", fail)
    with pytest.raises(OutOfMemoryError, match="for the 2 prompts of the vocabulary"):
        segmenter.encode(Vocabulary.from_names(["sky", "tree"]))


def test_one_bad_image_refuses_its_batch(make, images):
    for work in (make(["road"]).encode_images, make(["road"]).preview):
        with pytest.raises(ImageError, match="at least one pixel"):
            work([images[0], images[1][:0]])


@pytest.mark.parametrize("profile", ["paper", "fast"])
@pytest.mark.parametrize("words", [DEMO_CLASSES, ["sky", "car, automobile", "road"]])
def test_the_reference_path_labels_the_same(toytown_checkpoint, make, images, words, profile):
    fused = make(words, **{**PROFILES[profile], "max_active": 10})
    plain = ActiveSegmenter(toytown_checkpoint, fused.settings, TABLE, prompt_cache=None, plain=True)
    assert plain.plain and not fused.plain
    plain.set_vocabulary(fused.vocabulary)
    for rgb in images:
        one, other = fused.segment(rgb), plain.segment(rgb)
        assert one.active_prompts == other.active_prompts and one.instance_counts == other.instance_counts
        np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-4)
        for mine, theirs in zip(one.active, other.active, strict=True):
            assert mine.presence == pytest.approx(theirs.presence, abs=1e-5)
        # The best two of a pixel may be equal but for rounding.
        assert (one.labels == other.labels).mean() >= 0.9999


def test_presence_on_pooled_features(make, images, monkeypatch):
    """What is clearly present or absent on the coarse map is not scored again; the rest counts as on the finer one."""
    segmenter = make(DEMO_CLASSES, **PROFILES["fast"])
    assert segmenter.preview_description == "on the same features at 0.33 and 0.67 of their side"
    small = segmenter.with_settings(replace(segmenter.settings, preview_fine_scale=0.1))
    finer = segmenter.with_settings(replace(segmenter.settings, preview_scale=0.6667))
    encoded = []
    encode = VisionEncoder.encode
    monkeypatch.setattr(
        VisionEncoder, "encode", lambda self, pixels: encoded.append(1) or encode(self, pixels)
    )
    for rgb in images:
        del encoded[:]
        result = segmenter.segment(rgb)
        assert len(encoded) == 1
        coarse, fine = (one.segment(rgb).preview_presence for one in (small, finer))
        again = (coarse >= 0.0002) & (coarse < 0.9)
        assert result.preview_maps == (PooledMap(8, 24, 60), PooledMap(16, 24, int(again.sum())))
        np.testing.assert_allclose(result.preview_presence, np.where(again, fine, coarse), atol=1e-5)
        assert set(result.active_prompts) <= set(np.flatnonzero(result.preview_presence >= 0.0005))
        (alone,) = segmenter.preview([rgb])
        assert alone.active_prompts == result.active_prompts and alone.preview_maps == result.preview_maps
        np.testing.assert_array_equal(alone.preview_presence, result.preview_presence)
        assert set(alone.timings) == {"prepare", "encode", "preview", "total"}
    both = segmenter.preview(images)
    for one, rgb in zip(both, images, strict=True):
        assert one.active_prompts == segmenter.segment(rgb).active_prompts


@pytest.mark.parametrize("ahead", [2, 24])
def test_scoring_ahead_changes_nothing(make, images, monkeypatch, ahead):
    """As on a GPU, with fewer prompts ahead than are uncertain, and with more."""
    segmenter = make(DEMO_CLASSES, **PROFILES["fast"])
    for rgb in images:
        before = segmenter.segment(rgb)
        with monkeypatch.context() as patch:
            patch.setattr("activesam_ros.segmenter.scored_ahead", lambda *_: ahead)
            result = segmenter.segment(rgb)
        uncertain = before.preview_maps[1].prompts
        assert 2 < uncertain < 24 and result.preview_maps[1].prompts == max(uncertain, ahead)
        np.testing.assert_allclose(result.preview_presence, before.preview_presence, atol=1e-6)
        assert result.active_prompts == before.active_prompts
        np.testing.assert_array_equal(result.labels, before.labels)


def test_the_counted_work_of_pooled_features_is_what_runs(make, images):
    segmenter = make(DEMO_CLASSES, **PROFILES["fast"])
    # What depends on the resolution alone is computed once.
    work = workload_of(segmenter, segmenter.segment(images[0]))
    assert len(work.pooled) == 2 and not work.previewed
    flops = FusedModelFlops(segmenter.checkpoint.config).frame(work)
    assert counted(lambda: segmenter.encode_images(images[:1])) == flops.preview + flops.encode


def counting_compiler(graphs):
    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    return torch_compiler(backend)


def test_compiled_parts_say_the_same_and_are_ready(toytown_checkpoint, make, street_image):
    expected = make(CLASSES[:12], max_active=7, keep_fraction=0.6, bucket_size=8)
    graphs = []
    segmenter = ActiveSegmenter(
        toytown_checkpoint, expected.settings, TABLE, prompt_cache=None, compiler=counting_compiler(graphs)
    )
    assert segmenter.compiled and not expected.compiled
    segmenter.set_vocabulary(expected.vocabulary)
    segmenter.warm_up(segmenter.prompts)
    warm = len(graphs)
    assert warm > 0
    result = segmenter.segment(street_image)
    same_result(result, expected.segment(street_image))
    fewer = segmenter.with_settings(replace(expected.settings, keep_fraction=0.3))
    assert len(fewer.segment(street_image).active_prompts) < len(result.active_prompts)
    # Images of several cameras at once.
    fewer.encode_images([street_image, street_image])
    assert len(graphs) == warm


def test_warming_up_where_memory_is_short(toytown_checkpoint, make, street_image, short_of_memory):
    segmenter = make(CLASSES[:12])
    short_of_memory.prompts = 5
    segmenter.warm_up(segmenter.prompts)
    assert segmenter.bucket_size == 4
    short_of_memory.images = 0
    with pytest.raises(OutOfMemoryError, match="even one image"):
        segmenter.warm_up(segmenter.prompts)


def test_half_precision_on_the_image_path(toytown_folder, make, street_image):
    plain = make(DEMO_CLASSES).segment(street_image)
    half = ActiveSegmenter.from_pretrained(toytown_folder, "cpu", "bfloat16", hypernyms=TABLE)
    half.set_vocabulary(Vocabulary.from_names(DEMO_CLASSES))
    exact = make(["road"])
    with torch.inference_mode():
        image = half._full.encode(half._full.prepare(street_image))
        expected = exact._full.encode(exact._full.prepare(street_image))
    assert image.levels[-1].dtype is torch.bfloat16
    assert image.class_token.dtype is torch.float32
    assert torch.equal(image.position, expected.position)
    result = half.segment(street_image)
    np.testing.assert_allclose(result.preview_presence, plain.preview_presence, atol=0.1)
    assert (result.labels == plain.labels).mean() >= 0.99


def test_numbers_that_are_not_finite_are_no_labels(toytown_folder, street_image):
    segmenter = ActiveSegmenter.from_pretrained(toytown_folder, "cpu", hypernyms=TABLE)
    segmenter._checkpoint.model.mask_decoder.semantic_projection.bias.fill_(float("nan"))
    segmenter.set_vocabulary(Vocabulary.from_names(["road", "sky"]))
    with pytest.raises(ModelError, match="not finite"):
        segmenter.segment(street_image)


def test_encoding_beside_the_stream(make, street_image):
    segmenter = make(DEMO_CLASSES[:30])
    expected = segmenter.segment(street_image).labels
    failures = []

    def encode():
        try:
            for count in range(5, 30):
                segmenter.encode(Vocabulary.from_names(DEMO_CLASSES[:count]))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=encode) for _ in range(2)]
    for thread in threads:
        thread.start()
    results = [segmenter.segment(street_image).labels for _ in range(3)]
    for thread in threads:
        thread.join()
    assert not failures
    assert all(np.array_equal(labels, expected) for labels in results)


class Loads:
    """Counts how often the text encoder of a checkpoint is read."""

    def __init__(self, checkpoint, monkeypatch):
        self.count = 0
        read = type(checkpoint).load_text_side

        def counted(this):
            self.count += 1
            return read(this)

        monkeypatch.setattr(type(checkpoint), "load_text_side", counted)


@pytest.fixture
def loads(toytown_checkpoint, monkeypatch):
    return Loads(toytown_checkpoint, monkeypatch)


def test_known_words_need_no_text_encoder(toytown_checkpoint, loads, tmp_path, street_image):
    words = Vocabulary.from_names(CLASSES)
    first = ActiveSegmenter(toytown_checkpoint, hypernyms=TABLE, prompt_cache=tmp_path)
    first.set_vocabulary(words)
    assert loads.count == 1 and not first.text_encoder_loaded
    assert first.prompts.report.hits == 0
    second = ActiveSegmenter(toytown_checkpoint, hypernyms=TABLE, prompt_cache=tmp_path)
    second.set_vocabulary(words)
    assert loads.count == 1 and not second.text_encoder_loaded
    assert second.prompts.report.misses == 0
    assert np.array_equal(first.segment(street_image).labels, second.segment(street_image).labels)


def test_one_new_word_encodes_one_prompt(toytown_checkpoint, tmp_path):
    segmenter = ActiveSegmenter(toytown_checkpoint, hypernyms=TableHypernyms({}), prompt_cache=tmp_path)
    vocabulary = Vocabulary.from_names(DEMO_CLASSES)
    segmenter.set_vocabulary(vocabulary)
    edited = segmenter.encode(vocabulary.updated([*DEMO_CLASSES, "zebra"]))
    assert (edited.report.hits, edited.report.misses) == (60, 1)
    fresh = ActiveSegmenter(toytown_checkpoint, hypernyms=TableHypernyms({}), prompt_cache=None).encode(
        edited.vocabulary
    )
    np.testing.assert_allclose(edited.text, fresh.text, atol=1e-5)
    np.testing.assert_allclose(edited.context.tokens, fresh.context.tokens, atol=1e-5)


@pytest.mark.parametrize(
    ("residence", "kept", "reads"), [("keep", True, 1), ("offload", True, 1), ("release", False, 2)]
)
def test_the_text_encoder_lives_as_long_as_asked(toytown_checkpoint, loads, residence, kept, reads):
    segmenter = ActiveSegmenter(
        toytown_checkpoint, hypernyms=TABLE, text_encoder=residence, prompt_cache=None
    )
    assert not segmenter.text_encoder_loaded
    segmenter.set_vocabulary(Vocabulary.from_names(["road"]))
    assert segmenter.text_encoder_loaded is kept
    segmenter.set_vocabulary(Vocabulary.from_names(["road", "sky"]))
    assert loads.count == reads


def test_long_prompts_are_refused_before_encoding(make):
    segmenter = make(["road"])
    with pytest.raises(VocabularyError, match="has 42 tokens"):
        segmenter.check(Vocabulary.from_names([" ".join(["road"] * 40)]))
    segmenter.check(Vocabulary.from_names(["a red car with a roof rack"]))


def test_ids_follow_the_vocabulary(make, street_image):
    segmenter = make(["giraffe", "road", "sky"])
    labels = segmenter.segment(street_image).labels
    segmenter.set_vocabulary(segmenter.vocabulary.updated(["sky", "road", "tiger"]))
    result = segmenter.segment(street_image)
    assert set(np.unique(result.labels)) <= {1, 2, 3}
    assert (result.labels[labels == 2] == 2).mean() > 0.8
    assert {entry.name: entry.class_id for entry in result.active} == {"sky": 2, "road": 1, "tiger": 3}

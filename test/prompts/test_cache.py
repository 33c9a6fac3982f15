"""The prompt cache: what it keeps, and what it refuses to trust."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from activesam_ros.errors import SettingsError
from activesam_ros.prompts import cache as module
from activesam_ros.prompts.cache import PromptCache, PromptEmbedding, disk_limit

SHAPE = (4, 3)


def embedding(seed: int = 0, tokens: int = 5) -> PromptEmbedding:
    generator = torch.Generator().manual_seed(seed)
    return PromptEmbedding(torch.randn(tokens, 4, generator=generator), torch.randn(3, generator=generator))


def same(one: PromptEmbedding, other: PromptEmbedding) -> bool:
    return torch.equal(one.tokens, other.tokens) and torch.equal(one.pooled, other.pooled)


def only_file(folder):
    (found,) = folder.rglob("*.safetensors")
    return found


def test_memory_alone():
    cache = PromptCache("f", SHAPE, None)
    assert cache.get("car") is None
    cache.put("car", embedding())
    assert same(cache.get("car"), embedding())


def test_another_process_finds_what_was_put(tmp_path):
    PromptCache("f", SHAPE, tmp_path).put("red car, Ünïcode/..", embedding(3))
    assert same(PromptCache("f", SHAPE, tmp_path).get("red car, Ünïcode/.."), embedding(3))
    assert PromptCache("f", SHAPE, tmp_path).get("car") is None
    assert PromptCache("other", SHAPE, tmp_path).get("red car, Ünïcode/..") is None


def damage_cut(path, _):
    path.write_bytes(path.read_bytes()[:40])


def damage_empty(path, _):
    path.write_bytes(b"")


def damage_noise(path, _):
    path.write_bytes(os.urandom(500))


def damage_foreign(path, _):
    save_file({"weight": torch.zeros(2)}, path)


def damage_other_phrase(path, folder):
    PromptCache("f", SHAPE, folder / "aside").put("bus", embedding(9))
    path.write_bytes(only_file(folder / "aside").read_bytes())


def damage_other_encoder(path, folder):
    PromptCache("g", SHAPE, folder / "aside").put("car", embedding(9))
    path.write_bytes(only_file(folder / "aside").read_bytes())


def damage_shape(path, folder):
    PromptCache("f", (7, 3), folder / "aside").put("car", PromptEmbedding(torch.zeros(2, 7), torch.zeros(3)))
    path.write_bytes(only_file(folder / "aside").read_bytes())


def damage_nan(path, folder):
    PromptCache("f", SHAPE, folder / "aside").put(
        "car", PromptEmbedding(torch.full((2, 4), float("nan")), torch.zeros(3))
    )
    path.write_bytes(only_file(folder / "aside").read_bytes())


def damage_folder(path, _):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        damage_cut,
        damage_empty,
        damage_noise,
        damage_foreign,
        damage_other_phrase,
        damage_other_encoder,
        damage_shape,
        damage_nan,
    ],
)
def test_damaged_files_are_ignored_with_one_warning_and_rewritten(tmp_path, damage, caplog):
    cache = tmp_path / "cache"
    PromptCache("f", SHAPE, cache).put("car", embedding())
    damage(only_file(cache), tmp_path)
    again = PromptCache("f", SHAPE, cache)
    assert again.get("car") is None
    assert len(caplog.records) == 1 and "not used" in caplog.text
    again.put("car", embedding(1))
    assert same(PromptCache("f", SHAPE, cache).get("car"), embedding(1))
    assert len(caplog.records) == 1


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_pickle_in_the_place_of_a_file_is_not_executed(tmp_path, caplog):
    cache, mark = tmp_path / "cache", tmp_path / "executed"
    PromptCache("f", SHAPE, cache).put("car", embedding())
    torch.save(Bomb(mark), only_file(cache))
    assert PromptCache("f", SHAPE, cache).get("car") is None
    assert "not used" in caplog.text and not mark.exists()


def test_a_folder_in_the_place_of_a_file_is_no_crash(tmp_path, caplog):
    PromptCache("f", SHAPE, tmp_path).put("car", embedding())
    damage_folder(only_file(tmp_path), tmp_path)
    cache = PromptCache("f", SHAPE, tmp_path)
    assert cache.get("car") is None
    cache.put("car", embedding())
    assert same(cache.get("car"), embedding())
    assert "in memory only" in caplog.text


def test_other_users_may_read_what_was_put(tmp_path):
    PromptCache("f", SHAPE, tmp_path).put("car", embedding())
    plain = tmp_path / "plain"
    plain.write_text("made the ordinary way")
    assert only_file(tmp_path).stat().st_mode == plain.stat().st_mode


def test_a_whole_cache_of_another_version_is_one_warning(tmp_path, caplog):
    cache = PromptCache("f", SHAPE, tmp_path)
    for phrase in ("car", "bus", "tram"):
        cache.put(phrase, embedding())
    for path in tmp_path.rglob("*.safetensors"):
        damage_cut(path, tmp_path)
    again = PromptCache("f", SHAPE, tmp_path)
    assert [again.get(phrase) for phrase in ("car", "bus", "tram")] == [None] * 3
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_a_disk_that_cannot_be_written_is_reported_once(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    cache = PromptCache("f", SHAPE, blocked)
    for phrase in ("car", "bus"):
        cache.put(phrase, embedding())
        assert same(cache.get(phrase), embedding())
    assert len(caplog.records) == 1 and "in memory only" in caplog.text


WRITER = """
import sys
from pathlib import Path
import torch
from activesam_ros.prompts.cache import PromptCache
from activesam_ros.prompts.cache import PromptEmbedding

cache = PromptCache("f", (4, 3), Path(sys.argv[1]))
count = 0
while True:
    number = float(count % 20)
    cache.put(f"phrase {count % 20}", PromptEmbedding(torch.full((20_000, 4), number), torch.full((3,), number)))
    count += 1
    if count == 1:
        print("ready", flush=True)
"""


def test_killing_a_writer_loses_at_most_that_write(tmp_path, caplog):
    for _ in range(2):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        for writer in writers:
            writer.kill()
            writer.communicate()
    cache = PromptCache("f", SHAPE, tmp_path)
    found = [cache.get(f"phrase {count}") for count in range(20)]
    assert any(found)
    for count, entry in enumerate(found):
        assert entry is None or ((entry.tokens == count).all() and (entry.pooled == count).all())
    assert not caplog.records


def test_memory_is_bounded_and_keeps_what_was_used_last(monkeypatch):
    monkeypatch.setattr(module, "MEMORY_LIMIT", 3 * embedding().size)
    cache = PromptCache("f", SHAPE, None)
    for prompt in ("car", "bus", "road"):
        cache.put(prompt, embedding())
    cache.put("car", embedding(1))
    cache.get("bus")
    cache.put("sky", embedding())
    assert [prompt for prompt in ("car", "bus", "road", "sky") if cache.get(prompt)] == ["car", "bus", "sky"]


def test_the_disk_is_bounded_and_what_was_unused_for_longest_goes_first(tmp_path, monkeypatch):
    one = PromptCache("f", SHAPE, tmp_path)
    for number in range(20):
        one.put(f"thing {number}", embedding())
        os.utime(module._file(tmp_path / "f", f"thing {number}"), (number, number))
    one.get("thing 0")
    size = module.prune_prompts(tmp_path, 10**9).size // 20
    assert module.prompts_on_disk(tmp_path) == 20 * size
    monkeypatch.setattr(module, "disk_limit", lambda: 20 * size)
    other = PromptCache("g", SHAPE, tmp_path)
    for number in range(100):
        other.put(f"new {number}", embedding())
        assert len(list(tmp_path.rglob("*.safetensors"))) <= 20
        if number == 0:  # down to the limit
            assert PromptCache("f", SHAPE, tmp_path).get("thing 1") is None
            assert PromptCache("f", SHAPE, tmp_path).get("thing 0") is not None
    assert PromptCache("g", SHAPE, tmp_path).get("new 99") is not None
    use = module.prune_prompts(tmp_path, 0)
    assert (use.prompts, use.size) == (0, 0) and 18 <= use.removed <= 20


def test_the_limit_comes_from_the_environment(monkeypatch):
    assert disk_limit() == 512_000_000
    monkeypatch.setenv("ACTIVESAM_PROMPT_CACHE_MB", "7")
    assert disk_limit() == 7_000_000
    monkeypatch.setenv("ACTIVESAM_PROMPT_CACHE_MB", "a lot")
    with pytest.raises(SettingsError, match="whole megabytes"):
        disk_limit()


def test_the_next_run_removes_what_a_killed_one_left(tmp_path):
    left = tmp_path / "f" / ".abc.safetensors.0123abcd"
    left.parent.mkdir()
    left.write_bytes(b"half")
    PromptCache("f", SHAPE, tmp_path)
    assert not left.exists()

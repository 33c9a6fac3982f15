"""The parameters of a running node: what a call changes, refuses, brings along, and what is put back."""

import random
from itertools import count

import pytest

from .fakes import eventually

NUMBERS = count()


@pytest.fixture
def start(ros):
    """Makes a node with these parameters; its `live` are what is tested, and `asked` what is wanted of the model."""
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.parameter import Parameter

    from activesam_ros.ros.live_parameters import LiveParameters

    class Owner(Node):
        def __init__(self, given):
            file = given.pop("params_file", None)
            overrides = [Parameter(name, value=value) for name, value in given.items()]
            super().__init__(
                f"owner_{next(NUMBERS)}",
                parameter_overrides=overrides,
                cli_args=["--ros-args", "--params-file", str(file)] if file else None,
            )
            self.asked = []
            self.unfit = None
            self.active = True
            self.executor_ = SingleThreadedExecutor()
            self.executor_.add_node(self)

        def check(self, request, model):
            if self.unfit:
                raise self.unfit

        def set(self, **values):
            """Set parameters in one call: why they were refused, or ""."""
            result = self.set_parameters_atomically(
                [Parameter(name, value=value) for name, value in values.items()]
            )
            assert result.successful == (not result.reason)
            return result.reason

        def get(self, *names):
            values = [self.get_parameter(name).value for name in names]
            return values[0] if len(values) == 1 else values

        def spin_until(self, condition):
            """Run what other threads left to the executor."""
            eventually(condition, meanwhile=lambda: self.executor_.spin_once(0.01))

    owners = []

    def make(**given):
        owner = Owner(given)
        owners.append(owner)
        owner.live = LiveParameters(owner, owner.asked.append, owner.check, lambda: owner.active)
        owner.live.listen()
        return owner

    yield make
    for owner in owners:
        owner.executor_.shutdown()
        owner.destroy_node()


def words(request):
    return request.vocabulary.names


def test_what_is_given_at_the_start_is_read_in_its_groups(start):
    owner = start(
        cameras=["front", "rear"], queue="all", model="street", max_rate=4.0, vocabulary=["road", "sky"]
    )
    live = owner.live
    assert (live.setup.cameras, live.setup.queue, live.setup.queue_size) == (("front", "rear"), "all", 20)
    assert (live.model.model, live.model.device) == ("street", "auto")
    assert (live.policy.max_rate, live.policy.image_timeout) == (4.0, 5.0)
    assert words(live.requested) == ("road", "sky") and live.requested.revision == 1
    assert owner.asked == [] and live.failure is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_age": "soon"}, "max_age is 'soon'; expected a number"),
        ({"queue_size": 0}, "queue_size is 0; expected 1 to 10000"),
        (
            {"prompt_cache": True},
            "prompt_cache is True; expected a text; put words such as no, off or 7 into quotes",
        ),
        ({"device": "gpu"}, "device is 'gpu'; expected auto, cpu, cuda or cuda:N"),
        ({"vocabulary": "[road, no]"}, "vocabulary holds False, which is not text; put it into quotes"),
        ({"queue_size": "many"}, "queue_size"),
        ({"cameras": ["2nd"]}, "cameras holds '2nd'"),
        ({"queue": "some"}, "queue is 'some'; expected one of newest, all"),
        ({"vocabulary": "road"}, "vocabulary is 'road'"),
        ({"vocabulary": ["road", "Road"]}, "(?i)road"),
        ({"keep_fraction": 2.0}, "keep_fraction is 2.0; expected 0.0001 to 1"),
        ({"keep_fraction": 2}, "keep_fraction is 2.0; expected 0.0001 to 1"),
    ],
)
def test_what_is_wrong_at_the_start_is_refused_by_name(start, given, said):
    from activesam_ros.errors import ActiveSamError

    with pytest.raises(ActiveSamError, match=said):
        start(**given)


def test_words_and_settings_are_wanted_with_one_revision_for_each_vocabulary(start):
    owner = start(vocabulary=["road"])
    assert owner.set(vocabulary=["sky", "road"], max_active=7) == ""
    assert owner.set(confidence_threshold=0.5) == ""
    assert owner.set(vocabulary=["road"]) == ""
    assert [(one.revision, words(one), one.settings.confidence_threshold) for one in owner.asked] == [
        (2, ("sky", "road"), 0.3),
        (2, ("sky", "road"), 0.5),
        (3, ("road",), 0.5),
    ]
    assert all(one.settings.max_active == 7 for one in owner.asked)
    assert owner.live.requested is owner.asked[-1]
    # What is requested already is not requested again.
    assert owner.set(vocabulary=["road"], max_active=7) == "" and len(owner.asked) == 3


OTHER = {
    "keep_fraction": 0.5,
    "presence_floor": 0.1,
    "preview_period": 30,
    "preview_way": "sweep",
    "preview_likely": 5,
    "leave_after": 4,
    "change_threshold": 0.5,
}


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("equals", ["the default", "nothing"])
def test_a_given_value_wins_over_the_profile_at_the_start_and_later(start, name, equals):
    from activesam_ros.configuration.configuration import DEFAULTS
    from activesam_ros.settings import PROFILES

    value = DEFAULTS[name] if equals == "the default" else OTHER[name]
    expected = {**PROFILES["realtime"], name: value}
    given = start(profile="realtime", **{name: value})
    changed = start(**{name: value})
    assert changed.set(profile="realtime") == ""
    later = start()
    assert later.set(**{name: value}) == "" and later.set(profile="realtime") == ""
    afterwards = start(profile="realtime")
    assert afterwards.set(**{name: value}) == ""
    together = start()
    assert together.set(**{"profile": "realtime", name: value}) == ""
    for owner in (given, changed, later, afterwards, together):
        assert dict(zip(expected, owner.get(*expected), strict=True)) == expected
        assert {one: getattr(owner.live.requested.settings, one) for one in expected} == expected
        assert owner.get("profile") == "realtime"
        assert owner.set(profile="paper") == "" and owner.get(name) == value
        # An empty profile forgets what was given, and changes no value.
        assert owner.set(profile="") == "" and owner.get("profile", name) == ["", value]
        assert owner.set(profile="realtime") == "" and owner.get(name) == PROFILES["realtime"][name]


def test_a_dump_of_a_node_starts_another_one_as_it_was(start, capfd):
    owner = start(profile="realtime", keep_fraction=0.5, vocabulary=["road"])
    assert "the profile realtime leaves what was given: keep_fraction 0.5" in capfd.readouterr().err
    dump = {name: owner.get(name) for name, _ in owner.live.requested.values}
    again = start(**dump)
    assert again.live.requested == owner.live.requested
    assert again.set(profile="paper") == "" and again.get("keep_fraction", "preview_period") == [0.5, 1]


MINE = """
background: plants
background_threshold: 0.25
classes:
  - {name: road, prompts: [asphalt, lane], colour: [16, 32, 48]}
  - car, automobile
  - tree
  - {name: grass, prompts: [lawn]}
groups:
  plants: [tree, grass]
"""


def changes_of(chance, file):
    """What somebody may set in one call."""
    number = chance.choice([0.0001, 0.3, 1e-05, 0.5])
    return chance.choice(
        [
            {"vocabulary_file": chance.choice(["cityscapes", "indoor", "voc21", str(file)])},
            {"vocabulary_file": str(file), "background_threshold": number},
            {"vocabulary_file": ""},
            {"vocabulary": chance.choice([["no", "7", "car, automobile"], ["road"]]), "background_class": ""},
            {"background_class": chance.choice(["", "road", "car"])},
            {"background_threshold": number, "max_rate": chance.choice([0, 5, 2.5])},
            {"profile": chance.choice(["paper", "realtime", ""])},
            {name: OTHER[name] for name in chance.sample(list(OTHER), 2)},
            {"full_resolution": chance.choice([0, 192]), "max_pixels": 1000},
        ]
    )


@pytest.mark.parametrize("seed", range(12))
def test_a_dump_restores_a_node_that_loads_it_and_starts_the_same_node(start, tmp_path, seed):
    import yaml
    from rclpy.parameter import parameter_dict_from_yaml_file

    from activesam_ros.ros.parameters import PARAMETERS

    names = [spec.name for spec in PARAMETERS]
    chance = random.Random(seed)
    file, dumped = tmp_path / "mine.yaml", tmp_path / "dump.yaml"
    file.write_text(MINE)

    def one():
        owner = start(vocabulary_file=str(file), prompt_cache=chance.choice(["", "off"]))
        for _ in range(6):
            owner.set(**changes_of(chance, file))
        return owner

    first, second = one(), one()
    second.active = False
    dump = dict(zip(names, first.get(*names), strict=True))
    # As `ros2 param dump` writes it, and `ros2 param load` reads it.
    dumped.write_text(yaml.safe_dump({"/**": {"ros__parameters": dump}}))
    messages = list(parameter_dict_from_yaml_file(str(dumped), use_wildcard=True).values())
    asked = len(second.asked)
    results = second.live.set_together(messages)
    assert [one.reason for one in results] == [""] * len(messages)
    assert len(second.asked) <= asked + 1
    third = start(params_file=dumped)
    for other in (second, third):
        assert dict(zip(names, other.get(*names), strict=True)) == dump
        mine, theirs = first.live.requested, other.live.requested
        assert mine.settings == theirs.settings
        assert {(c.name, c.prompts, c.members) for c in mine.vocabulary.classes} == {
            (c.name, c.prompts, c.members) for c in theirs.vocabulary.classes
        }
        # What its profile sets may be changed by another one as before.
        assert other.set(profile="realtime") == ""
    assert first.set(profile="realtime") == ""


def test_names_that_nobody_declares_are_told_with_the_nearest_one(start, tmp_path):
    file = tmp_path / "file.yaml"
    override = "qos_overrides: {/image: {subscription: {depth: 3, relability: reliable}}}"
    file.write_text(
        f"/**:\n  ros__parameters: {{vocabluary: [sky], max_active: 7, use_sim_time: false, {override}}}\n"
    )
    owner = start(params_file=file)
    for policy in ("depth", "reliability"):
        owner.declare_parameter(f"qos_overrides./image.subscription.{policy}", 3 if policy == "depth" else "")
    prefix = "qos_overrides./image.subscription."
    assert sorted(owner.live.unknown()) == [
        f"there is no parameter '{prefix}relability', so it has no effect; did you mean {prefix}reliability?",
        "there is no parameter 'vocabluary', so it has no effect; did you mean vocabulary?",
    ]


def test_what_is_refused_by_itself_leaves_the_rest_of_a_call_one_change(start):
    from rclpy.parameter import Parameter

    owner = start()
    given = {
        "max_active": 7,
        "max_rate": "soon",
        "queue": "all",
        "sped": 1,
        "keep_fraction": 1,
        "model": "forest",
    }
    messages = [Parameter(name, value=value).to_parameter_msg() for name, value in given.items()]
    reasons = [one.reason for one in owner.live.set_together(messages)]
    assert [bool(one) for one in reasons] == [False, True, True, True, False, True]
    assert "expected a number" in reasons[1] and "read-only" in reasons[2]
    assert reasons[3] == "there is no parameter 'sped'"
    assert len(owner.asked) == 1 and owner.get("max_active", "keep_fraction") == [7, 1.0]
    # What is wrong together is refused together.
    given = {"vocabulary": ["sky"], "vocabulary_file": "indoor", "max_active": 9}
    messages = [Parameter(name, value=value).to_parameter_msg() for name, value in given.items()]
    results = owner.live.set_together(messages)
    assert all("both given" in one.reason for one in results) and len(owner.asked) == 1
    assert owner.live.set_together([]) == []
    messages[0].value.type = 77
    assert [bool(one.reason) for one in owner.live.set_together([messages[0], messages[2]])] == [True, False]


def test_what_cannot_change_is_refused_only_if_it_would(start):
    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.parameter import Parameter

    owner = start()
    owner.declare_parameter("qos.depth", 1, ParameterDescriptor(read_only=True, dynamic_typing=True))
    given = [("qos.depth", 1), ("queue", "newest"), ("qos.depth", 2), ("qos.depth", True), ("queue", "all")]
    messages = [Parameter(name, value=value).to_parameter_msg() for name, value in given]
    reasons = [one.reason for one in owner.live.set_together(messages)]
    assert reasons[:2] == ["", ""] and all("read-only" in one for one in reasons[2:])


def test_a_refused_call_leaves_nothing_for_a_later_declaration(start):
    owner = start()
    assert "read-only" in owner.set(max_active=7, queue="all")
    owner.declare_parameter("qos_overrides./image.subscription.depth", 1)
    assert owner.asked == [] and owner.get("max_active") == 40


def test_only_files_below_the_folders_of_the_start_are_read_and_none_is_quoted(start, tmp_path):
    home, other = tmp_path / "maps", tmp_path / "secrets"
    home.mkdir()
    other.mkdir()
    (home / "mine.yaml").write_text(MINE)
    (home / "key.yaml").write_text("classes:\n  - password: hunter2\n")
    (home / "twice.txt").write_text("hunter2\nHunter2\n")
    (home / "long.txt").write_text("hunter2 is not a class of anything\n")
    (other / "plain.txt").write_text("hunter2\n")
    (home / "link.txt").symlink_to(other / "plain.txt")
    owner = start(vocabulary_file=str(home / "mine.yaml"))
    owner.active = False
    for name in ("vocabulary_file", "model", "prompt_cache"):
        for outside in (
            *("/etc/shadow", "/proc/self/environ", "/etc", "/no/such/file", "~/x", "../x"),
            *(str(other), str(other / "plain.txt"), str(home / "link.txt"), f"{home}/../secrets/plain.txt"),
            "~nobody-here/x",
        ):
            refused = owner.set(**{name: outside})
            assert refused.startswith(f"{name} is ") and "allowed_folders" in refused, outside
            assert "hunter2" not in refused and "root:" not in refused
    from activesam_ros.errors import VocabularyError

    assert owner.set(vocabulary_file=str(home / "key.yaml")).startswith(f"{home / 'key.yaml'}, line ")
    for bad in ("key.yaml", "twice.txt"):
        refused = owner.set(vocabulary_file=str(home / bad))
        assert "not a vocabulary" in refused and "unter2" not in refused
    owner.unfit = VocabularyError("'hunter2 is not a class of anything' is too long")
    assert "hunter2" not in owner.set(vocabulary_file=str(home / "long.txt"))
    assert "too long" in owner.set(vocabulary=["hunter2 is not"], background_class="")
    owner.unfit = None
    for name, inside in (
        *(("vocabulary_file", one) for one in ("indoor", str(home / "long.txt"))),
        *(("model", one) for one in ("toytown", "facebook/sam3", str(home))),
        *(("prompt_cache", one) for one in ("memory", "", str(home / "cache"))),
    ):
        assert owner.set(**{name: inside}) == "", (name, inside)
    chosen = start(allowed_folders=[str(other)], vocabulary_file=str(home / "mine.yaml"))
    assert chosen.set(vocabulary_file=str(other / "plain.txt")) == ""
    assert "allowed_folders" in chosen.set(vocabulary_file=str(home / "mine.yaml"))


def test_a_link_that_leads_elsewhere_once_it_was_checked_is_not_followed(start, tmp_path, monkeypatch):
    from activesam_ros.errors import SettingsError
    from activesam_ros.ros.file_access import FileAccess

    home, other = tmp_path / "maps", tmp_path / "secrets"
    for folder in (home, other):
        (folder / "kept").mkdir(parents=True)
        (folder / "kept" / "words.txt").write_text("road\n" if folder == home else "hunter2\n")
    owner = start(allowed_folders=[str(home)], prompt_cache=str(other))
    owner.active = False
    link, words = home / "link", str(home / "link" / "words.txt")
    link.symlink_to(home / "kept")

    def turn():
        link.unlink()
        link.symlink_to(other / "kept")

    assert owner.set(model=str(link)) == ""
    real = owner.live.real(owner.live.model)
    assert (real.model, real.prompt_cache) == (str(home / "kept"), str(other))  # which was given at the start
    assert owner.set(vocabulary_file=words) == "" and owner.get("vocabulary") == ["road"]
    check = FileAccess.check
    with monkeypatch.context() as patched:
        patched.setattr(FileAccess, "check", lambda *call: (check(*call), turn())[0])
        refused = owner.set(vocabulary_file=words)
    assert "Permission denied" in refused and owner.get("vocabulary") == ["road"]
    with pytest.raises(SettingsError, match="allowed_folders"):
        owner.live.real(owner.live.model)


def test_a_file_brings_its_parameters_along_and_the_log_says_so(start, tmp_path, capfd):
    file = tmp_path / "mine.yaml"
    file.write_text("background: sky\nbackground_threshold: 0.25\nclasses: [road, sky]\n")
    owner = start(vocabulary_file=str(file))
    names = ("vocabulary", "background_class", "background_threshold", "vocabulary_file")
    assert owner.get(*names) == [["road", "sky"], "sky", 0.25, str(file)]
    logged = capfd.readouterr().err
    assert "set along with what was given: vocabulary (2 classes), background_class 'sky'" in logged
    assert owner.set(vocabulary=["tree"], background_class="") == ""
    assert owner.get(*names) == [["tree"], "", 0.25, ""]
    assert "set along with what was given: vocabulary_file ''" in capfd.readouterr().err
    assert owner.set(vocabulary_file=str(file), background_threshold=0.5) == ""
    assert owner.get(*names) == [["road", "sky"], "sky", 0.5, str(file)]
    assert [one.revision for one in owner.asked] == [2, 3]


def test_the_policy_changes_at_once_and_asks_nothing_of_the_model(start):
    owner = start()
    assert owner.set(max_age=1.5, max_rate=10.0) == ""
    assert (owner.live.policy.max_age, owner.live.policy.max_rate) == (1.5, 10.0)
    assert owner.asked == []
    assert "max_rate" in owner.set(max_rate=-1.0)
    assert owner.set(max_rate=float("nan")) != ""
    assert owner.live.policy.max_rate == owner.get("max_rate") == 10.0
    # With words in one call, or neither.
    assert owner.set(vocabulary=["sky"], max_age=1.0) == ""
    assert owner.live.policy.max_age == 1.0 and words(owner.live.requested) == ("sky",)
    assert owner.set(vocabulary=["tree", "Tree"], max_age=2.0) != ""
    assert owner.live.policy.max_age == owner.get("max_age") == 1.0
    assert owner.get("vocabulary") == ["sky"] and len(owner.asked) == 1


@pytest.mark.parametrize("change", [{"cameras": ["front"]}, {"queue": "all"}, {"autostart": False}])
def test_what_the_node_is_built_with_stays(start, change):
    owner = start()
    (name,) = change
    before = owner.get(name)
    assert "read-only" in owner.set(**change)
    assert owner.get(name) == before


def test_the_model_changes_only_while_the_node_is_not_active(start):
    owner = start(model="street", vocabulary=["road"])
    refused = owner.set(model="forest", vocabulary=["sky"])
    name = owner.get_fully_qualified_name()
    assert refused.startswith("model cannot change while the node is active")
    assert f"`ros2 lifecycle set {name} deactivate`" in refused
    assert owner.get("model", "vocabulary") == ["street", ["road"]] and owner.asked == []
    # A tool that sets all parameters again, as they are, does no harm.
    assert owner.set(model="street", vocabulary=["sky"]) == ""
    owner.active = False
    assert owner.set(model="forest", device="cpu") == ""
    assert (owner.live.model.model, owner.live.model.device) == ("forest", "cpu")
    assert len(owner.asked) == 1
    assert "expected one of release, offload, keep" in owner.set(text_encoder="gone")


def test_what_does_not_fit_the_model_or_cannot_be_checked_is_refused(start, capfd):
    from activesam_ros.errors import VocabularyError

    owner = start(vocabulary=["road"])
    owner.unfit = VocabularyError("a word is too long")
    assert owner.set(vocabulary=["sky"]) == "a word is too long"
    assert owner.get("vocabulary") == ["road"] and owner.asked == []
    owner.unfit = KeyError("surprise")
    assert owner.set(vocabulary=["sky"]) == "unexpected: KeyError: 'surprise'"
    assert owner.get("vocabulary") == ["road"] and "[ERROR]" in capfd.readouterr().err
    owner.unfit = None
    assert owner.set(vocabulary=["sky"]) == "" and owner.asked[0].revision == 2


def test_parameters_of_others_are_none_of_ours(start):
    from rclpy.parameter import Parameter

    owner = start()
    owner.declare_parameter("qos_overrides./image.subscription.depth", 1)
    owner.unfit = None
    assert owner.set_parameters([Parameter("use_sim_time", value=False)])[0].successful
    assert owner.set(**{"qos_overrides./image.subscription.depth": 5}) == ""
    assert owner.asked == []


def test_a_change_that_fails_later_is_put_back(start, capfd):
    owner = start(vocabulary=["road"])
    first = owner.live.requested
    assert owner.set(vocabulary=["road", "sky"], background_class="sky", max_active=7) == ""
    owner.live.failed(owner.asked[0], "'sky' has no tokens", first, False)
    assert owner.get("vocabulary") == ["road", "sky"]
    owner.spin_until(lambda: owner.live.requested is first)
    assert owner.live.failure == "'sky' has no tokens"
    assert owner.get("vocabulary", "background_class", "max_active") == [["road"], "", 40]
    logged = capfd.readouterr().err
    assert "[ERROR]" in logged and "'sky' has no tokens" in logged
    assert "is undone (vocabulary, background_class, max_active as before)" in logged
    assert len(owner.asked) == 1 and owner.live.failure is not None
    # Its revision is not used again, since somebody may have seen it.
    assert owner.set(vocabulary=["tree"]) == "" and owner.asked[-1].revision == 3
    owner.live.succeeded(owner.asked[-1])
    owner.spin_until(lambda: owner.live.failure is None)


def test_what_stands_is_wanted_anew_if_it_has_never_been_prepared(start):
    owner = start(vocabulary=["road"])
    first = owner.live.requested
    assert owner.set(vocabulary=["sky"]) == ""
    owner.live.failed(owner.asked[0], "no tokens", first, True)
    owner.spin_until(lambda: len(owner.asked) == 2)
    assert owner.asked[1] is first and owner.get("vocabulary") == ["road"]
    # That it comes into force does not make the failed change any better.
    owner.live.succeeded(first)
    for _ in range(3):
        owner.executor_.spin_once(0.01)
    assert owner.live.failure == "no tokens"


def test_a_failure_that_a_newer_change_has_overtaken_puts_nothing_back(start, capfd):
    owner = start(vocabulary=["road"])
    first = owner.live.requested
    assert owner.set(vocabulary=["sky"]) == ""
    assert owner.set(vocabulary=["tree"]) == ""
    owner.live.failed(owner.asked[0], "no tokens", first, False)
    seen = []
    owner.spin_until(lambda: seen.append(capfd.readouterr().err) or "newer one replaced it" in "".join(seen))
    assert owner.get("vocabulary") == ["tree"] and len(owner.asked) == 2
    assert owner.live.failure == "no tokens"
    # What was accepted before it, and comes into force only now, does not make it any better.
    owner.live.succeeded(first)
    for _ in range(3):
        owner.executor_.spin_once(0.01)
    assert owner.live.failure == "no tokens"
    owner.live.succeeded(owner.asked[1])
    owner.spin_until(lambda: owner.live.failure is None)


def test_an_undone_change_that_no_parameter_shows_names_none(start, tmp_path, capfd):
    file = tmp_path / "mine.yaml"
    file.write_text("classes:\n  - {name: road, prompts: [street]}\n")
    owner = start(vocabulary_file=str(file))
    first = owner.live.requested
    file.write_text("classes:\n  - {name: road, prompts: [lane]}\n")
    assert owner.set(vocabulary_file=str(file)) == "" and owner.asked[0].revision == 2
    owner.live.failed(owner.asked[0], "no tokens", first, False)
    owner.spin_until(lambda: owner.live.requested is first)
    assert "the change failed and is undone: no tokens" in capfd.readouterr().err


def test_asking_again_for_what_is_in_force_ends_the_error(start):
    owner = start(vocabulary=["road"])
    first = owner.live.requested
    assert owner.set(vocabulary=["sky"]) == ""
    owner.live.failed(owner.asked[0], "no tokens", first, False)
    owner.spin_until(lambda: owner.live.requested is first)
    # Parameters that have nothing to do with it do not.
    owner.active = False
    assert owner.set(max_age=1.0) == owner.set(device="cpu") == owner.set(use_sim_time=False) == ""
    assert owner.live.failure == "no tokens"
    assert owner.set(vocabulary=["road"]) == ""
    assert owner.live.failure is None and owner.live.requested is first and len(owner.asked) == 1


def test_two_failures_before_the_first_is_dealt_with_are_both_told_and_put_back_once(start, capfd):
    owner = start(vocabulary=["road"])
    first = owner.live.requested
    assert owner.set(vocabulary=["sky"]) == ""
    owner.live.failed(owner.asked[0], "one", first, False)
    assert owner.set(vocabulary=["tree"]) == ""
    owner.live.failed(owner.asked[1], "two", first, False)
    owner.spin_until(lambda: owner.live.requested is first)
    for _ in range(3):
        owner.executor_.spin_once(0.01)
    assert owner.get("vocabulary") == ["road"] and owner.live.failure == "two"
    logged = capfd.readouterr().err
    assert logged.count("[ERROR]") == 2 and logged.count("is undone") == 1

"""The parameters of a running node: what a call changes, refuses, brings along, and what is put back."""

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
            overrides = [Parameter(name, value=value) for name, value in given.items()]
            super().__init__(f"owner_{next(NUMBERS)}", parameter_overrides=overrides)
            self.asked = []
            self.unfit = None
            self.active = True
            self.executor_ = SingleThreadedExecutor()
            self.executor_.add_node(self)

        def check(self, request):
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
        ({"max_age": 1}, "max_age.* with a decimal point, such as 1.0"),
        ({"queue_size": 0}, "'queue_size' is out of range: expected 1 to 10000"),
        ({"queue_size": "many"}, "queue_size"),
        ({"cameras": ["2nd"]}, "cameras holds '2nd'"),
        ({"queue": "some"}, "queue is 'some'; expected one of newest, all"),
        ({"vocabulary": "road"}, "vocabulary is 'road'"),
        ({"vocabulary": ["road", "Road"]}, "(?i)road"),
        ({"keep_fraction": 2.0}, "'keep_fraction' is out of range"),
        ({"keep_fraction": 1}, "keep_fraction.* with a decimal point, such as 1.0"),
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
    from activesam_ros.configuration import DEFAULTS
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

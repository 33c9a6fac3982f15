"""The studio in a real browser, on the demo model."""

import re

import pytest
from playwright.sync_api import expect
from studio_browser import changes, enter, road_at_the_bottom, view_number

HOSTILE = "<script>hit=1</script>", "<img src=x onerror=hit=1>"


@pytest.fixture(scope="module")
def demo(start, tmp_path_factory):
    return start("--demo", "--folder", tmp_path_factory.mktemp("vocabularies"))


def test_a_changed_word_changes_the_labels(demo, visit):
    page = visit(demo)
    expect(road_at_the_bottom(page)).to_have_text(re.compile(r"^road 0\.\d\d"))
    changes(page, lambda: enter(page, "name of road", "street"))
    expect(road_at_the_bottom(page)).to_have_text(re.compile(r"^street 0\.\d\d"))
    expect(page.get_by_test_id("commands")).to_contain_text("ros2 param set /activesam vocabulary")
    expect(page.get_by_test_id("diff")).to_contain_text("+ street")
    # Another word for something else leaves the road without its class.
    changes(page, lambda: enter(page, "name of street", "grand piano"))
    expect(road_at_the_bottom(page)).not_to_have_text(re.compile("grand piano"))
    changes(page, lambda: page.get_by_role("button", name="Undo").click())
    changes(page, lambda: page.get_by_role("button", name="Undo").click())
    expect(page.get_by_label("name of road", exact=True)).to_have_value("road")


def test_refused_words_are_said_and_change_nothing(demo, visit):
    page = visit(demo)
    before = view_number(page)
    enter(page, "new class", "road")
    expect(page.get_by_role("alert").filter(has_text="both ask for")).to_be_visible()
    enter(page, "name of wall", "sky")
    expect(page.get_by_label("name of wall", exact=True)).to_have_value("wall")
    assert view_number(page) == before
    enter(page, "phrase to try", "sky")
    expect(page.get_by_test_id("probe")).to_contain_text("both ask for")


def test_a_phrase_is_tried_without_adding_it(demo, visit):
    page = visit(demo)
    enter(page, "phrase to try", "tree trunk")
    expect(page.get_by_test_id("probe")).to_have_text(
        re.compile(r"tree trunk: presence \d\.\d\d"), timeout=60_000
    )
    expect(page.get_by_test_id("overlay")).to_have_attribute("src", re.compile("probe"))
    expect(page.get_by_test_id("summary")).to_contain_text("60 classes")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_never_markup(demo, visit, name):
    page = visit(demo)
    changes(page, lambda: enter(page, "new class", name))
    expect(page.get_by_label(f"name of {name}", exact=True)).to_have_value(name)
    page.get_by_label(f"show the score of {name}", exact=True).click()
    expect(page.get_by_test_id("overlay")).to_have_attribute("src", re.compile("score"))
    enter(page, "new class", name)
    enter(page, "phrase to try", name)
    expect(page.get_by_test_id("probe")).to_contain_text(name)
    assert page.evaluate("[window.hit === undefined, document.querySelectorAll('img[src=x]').length]") == [
        True,
        0,
    ]
    changes(page, lambda: page.get_by_role("button", name="Undo").click())


def test_one_changes_and_the_others_look(demo, visit):
    one = visit(demo)
    changes(one, lambda: enter(one, "new class", "mail box"))
    other = visit(demo, free=False)
    expect(other.get_by_label("name of mail box", exact=True)).to_be_disabled()
    expect(other.get_by_role("button", name="Add", exact=True)).to_be_disabled()
    other.get_by_role("button", name="Take over").click()
    changes(other, lambda: other.get_by_label("remove mail box", exact=True).click())
    expect(one.get_by_role("button", name="Take over")).to_be_visible()
    other.close()
    expect(one.get_by_role("button", name="Add", exact=True)).to_be_enabled(timeout=20_000)


def test_all_of_it_by_keyboard(demo, visit):
    page = visit(demo)
    page.get_by_label("new class").focus()
    page.keyboard.type("bench, park bench")
    changes(page, lambda: page.keyboard.press("Enter"))
    page.get_by_label("name of bench", exact=True).focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "what bench asks for"
    page.keyboard.press("Control+a")
    page.keyboard.type("seat")
    changes(page, lambda: page.keyboard.press("Tab"))
    # The focus stays in its row although the list was shown anew.
    assert page.evaluate("document.activeElement.ariaLabel") == "show the score of bench"
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "remove bench"
    changes(page, lambda: page.keyboard.press("Enter"))
    expect(page.get_by_test_id("summary")).to_contain_text("60 classes")
    slider = page.get_by_role("slider", name="background_threshold")
    slider.locator("[tabindex]").first.focus()
    changes(page, lambda: page.keyboard.press("ArrowRight"))
    expect(page.get_by_test_id("commands")).to_contain_text("background_threshold 0.01")
    changes(page, lambda: page.keyboard.press("Control+z"))
    expect(page.get_by_test_id("commands")).not_to_contain_text("background_threshold")
    changes(page, lambda: page.keyboard.press("Control+Shift+Z"))
    expect(page.get_by_test_id("commands")).to_contain_text("background_threshold 0.01")
    changes(page, lambda: page.get_by_role("button", name="Undo").press("Enter"))


def test_a_vocabulary_is_saved_and_loaded_again(demo, visit):
    page = visit(demo)
    changes(page, lambda: enter(page, "new class", "kiosk"))
    page.get_by_label("file name").fill("kiosk")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text(re.compile(r"saved as .*kiosk\.yaml"))).to_be_visible()
    changes(page, lambda: page.get_by_label("remove kiosk", exact=True).click())
    page.get_by_label("preset or file").fill("kiosk.yaml")
    page.get_by_role("listbox").get_by_role("option").first.click()
    changes(page, lambda: page.get_by_role("button", name="Load", exact=True).click())
    expect(page.get_by_label("name of kiosk", exact=True)).to_be_visible()
    page.get_by_label("file name").fill("../elsewhere")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="cannot be the name of a file")).to_be_visible()
    changes(page, lambda: page.get_by_label("remove kiosk", exact=True).click())


def test_three_hundred_classes_on_a_phone(start, visit, tmp_path):
    import cv2

    from activesam_ros.toytown.world import World

    cv2.imwrite(str(tmp_path / "one.png"), World(3, 320, 240).render(1.0).rgb[..., ::-1])
    cv2.imwrite(str(tmp_path / "two.png"), World(4, 320, 240).render(1.0).rgb[..., ::-1])
    words = "; ".join(
        ["road", "sky", "building", "car", *(f"thing number {number}" for number in range(296))]
    )
    page = visit(
        start("--images", tmp_path, "--model", "toytown", "--vocabulary", words), width=390, height=844
    )
    expect(page.get_by_test_id("summary")).to_contain_text("300 classes")
    # Nothing sticks out to the right.
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_label("order of the list").select_option("active first")
    active = "!document.querySelectorAll('[data-class]')[39].classList.contains('st-off')"
    page.wait_for_function(active)
    page.get_by_label("order of the list").select_option("in order")
    # The settings are not below 300 rows.
    assert page.evaluate("document.documentElement.scrollHeight") < 5000
    page.get_by_label("find a class").fill("number 295")
    expect(page.locator("[data-class]")).to_have_count(1)
    changes(page, lambda: enter(page, "name of thing number 295", "lamp"))
    page.get_by_label("find a class").fill("")
    expect(page.locator("[data-class]")).to_have_count(300)
    changes(page, lambda: page.get_by_label("next picture").click())
    expect(page.get_by_text("two.png")).to_be_visible()


def test_another_address_asks_for_the_token(start, visit, chromium):
    address = re.sub(r"//.*:", "//127.0.0.1:", start("--demo", "--host", "0.0.0.0"))
    assert "token=" in address
    page = chromium.new_page()
    assert page.goto(address.split("?")[0]).status == 403
    page.close()
    changed = visit(address)
    expect(changed.get_by_test_id("summary")).to_contain_text("60 classes")

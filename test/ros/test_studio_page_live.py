"""The studio's page in a real browser beside the real node: what comes second, and a node that dies and comes again."""

import re
import threading

import pytest

from activesam_ros.toytown.world import World

from .conftest import PATIENCE

pytestmark = pytest.mark.usefixtures("dds_environment")


@pytest.fixture
def camera(client):
    """Sends one picture again and again, once it is told to."""
    picture, stop = World(3, 320, 240).render(1.0).rgb, threading.Event()

    def send():
        while not stop.wait(0.2):
            client.send(picture)

    thread = threading.Thread(target=send)

    def begin():
        client.connect(picture)
        thread.start()

    yield begin
    stop.set()
    if thread.ident:
        thread.join()


@pytest.mark.slow
def test_a_page_beside_a_node(start_node, camera, start, visit):
    from playwright.sync_api import expect
    from studio_browser import enter, road_at_the_bottom, view_number

    node = start_node("-p", "background_threshold:=0.0", words=["road", "street", "sky"])
    camera()
    page = visit(start("--node", "/activesam"))
    patient = 1000 * PATIENCE
    page.set_default_timeout(patient)
    expect(road_at_the_bottom(page)).to_have_text(
        re.compile(r"^\w+ [01]\.\d\d\s+\(Hold tells"), timeout=patient
    )
    page.get_by_role("button", name="Hold").click()
    # Both words ask for the same, so whichever wins, the other comes second.
    road = re.compile(r"^(road [01]\.\d\d\s+then street|street [01]\.\d\d\s+then road) [01]\.\d\d\s*$")
    expect(road_at_the_bottom(page)).to_have_text(road, timeout=patient)
    held = view_number(page)
    page.get_by_role("button", name="Confidence").click()
    expect(page.get_by_test_id("overlay")).to_have_attribute(
        "src", re.compile(f"/{held}/confidence"), timeout=patient
    )
    assert view_number(page) == held
    page.get_by_role("button", name="Classes").click()
    page.get_by_role("button", name="Go on").click()
    page.wait_for_function(
        "held => +document.querySelector('[data-testid=overlay]').dataset.view > held", arg=held
    )
    message = page.get_by_test_id("message")
    # The field shows again what is in force, although the words in between were never shown.
    for _ in range(2):
        enter(page, "name of sky", " ".join(["word"] * 60))
        expect(message).to_contain_text("shorten it", timeout=patient)
        expect(page.get_by_label("name of sky", exact=True)).to_have_value("sky", timeout=patient)
    # It dies without a word to anybody.
    node.process.kill()
    node.process.wait()
    expect(message).to_have_text(
        "/activesam does not answer; this page goes on by itself once it does", timeout=patient
    )
    last = view_number(page)
    start_node(words=["grass", "sky"])
    expect(page.get_by_label("name of grass", exact=True)).to_be_visible(timeout=patient)
    expect(page.get_by_label("name of road", exact=True)).to_have_count(0, timeout=patient)
    expect(message).to_be_hidden(timeout=patient)
    page.wait_for_function(
        "last => +document.querySelector('[data-testid=overlay]').dataset.view > last + 1",
        arg=last,
    )
    expect(road_at_the_bottom(page)).not_to_have_text(re.compile("road|street"), timeout=patient)
    names = page.locator("[aria-label^='name of ']").evaluate_all("all => all.map(one => one.value)")
    assert names == ["grass", "sky"] and view_number(page) > last + 1 and not message.is_visible()

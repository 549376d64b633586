"""Every page of the dashboard, with something to show on each: axe finds nothing that keeps anybody from using it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..harness.axe import findings
from ..harness.chromium import Chromium, Page
from ..harness.staged import PAGES, REASON, Staged
from ..harness.terraster_process import Terraster
from ..harness.users_api import GOOD

pytestmark = pytest.mark.needs("chromium")

SIZES = ((1280, 800), (360, 740))


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraster]:
    with Staged(tmp_path_factory.mktemp("staged") / "t") as terraster:
        yield terraster


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, staged: Terraster) -> Iterator[Page]:
    """A page that asks for the login; the tests go on where the one before ended."""
    with Chromium(tmp_path_factory.mktemp("browser")) as browser:
        page = browser.page(*SIZES[0])
        page.open(f"http://127.0.0.1:{staged.admin_port}/")
        page.wait("document.querySelector('input[name=username]')")
        yield page
        assert [text for text in page.complaints() if "401" not in text] == []


@pytest.fixture
def entered(page: Page) -> Page:
    """A page after the login."""
    if page.value("document.querySelector('input[name=username]') !== null"):
        page.value("location.hash = '#/'")
        page.log_in("ada", GOOD)
    page.resize(*SIZES[0])
    return page


@pytest.mark.nightly  # axe comes from npm's registry
def test_axe_finds_nothing_on_any_page(page) -> None:
    found = [f"login: {line}" for line in findings(page)]
    page.log_in("ada", GOOD)
    for (width, height), scheme in zip(SIZES, ("light", "dark"), strict=True):
        page.resize(width, height)
        page.media(prefers_color_scheme=scheme)
        for name in PAGES:
            page.go(name)
            found += [f"{name}, {width}, {scheme}: {line}" for line in findings(page)]
    page.go("service/shop")
    page.value("[...document.querySelectorAll('button')].find((one) => one.innerText == 'Drain').click()")
    page.wait("document.querySelector('form.act')")
    assert found + findings(page) == []
    page.value("document.querySelector('main').append(document.createElement('input'))")
    assert [line.partition(":")[0] for line in findings(page)] == ["label"], "axe finds what is wrong"


@pytest.mark.parametrize("width", [360, 768, 3840])
def test_no_page_is_wider_than_the_screen(entered, width) -> None:
    page = entered
    page.resize(width, 900)
    for name in PAGES:
        page.go(name)
        assert page.value("document.documentElement.scrollWidth") <= width, name


def test_an_address_of_an_explanation_asks_again_and_has_no_header_fields(entered) -> None:
    page = entered
    shared = "explain?request=GET+http%3A%2F%2Fshop.example%2Fapi%2Fx&client=10.1.2.3"
    page.go(shared)
    page.wait("document.querySelector('main pre')?.innerText.includes('/api')")
    page.type("textarea", "Authorization: Basic c2VjcmV0")
    page.click("form.stack button")
    page.wait("document.querySelector('main pre')?.innerText.includes('uthorization')")
    assert page.value("location.hash") == f"#/{shared}"


def test_events_of_the_day_with_filters_in_the_address(entered) -> None:
    page = entered
    page.go("events")
    page.wait("document.querySelector('tbody').innerText.includes('has ended: killed by SIGKILL')")
    assert REASON in page.text()
    page.value("const kind = document.querySelector('select'); kind.value = 'worker'; kind.dispatchEvent(new Event('change'))")
    page.wait("document.querySelectorAll('tbody tr').length == 1")
    page.type("main label:last-of-type input", "no such text")
    page.wait("document.querySelector('main').innerText.includes('Nothing happened.')")
    assert page.value("location.hash") == "#/events?kind=worker&find=no+such+text"
    page.call("Page.reload")
    page.wait("document.querySelector('main')?.innerText.includes('Nothing happened.')")
    assert (
        page.value("document.querySelector('select').value + document.querySelectorAll('main input')[1].value")
        == "workerno such text"
    )


def test_objectives_that_burn_are_named_first(entered) -> None:
    page = entered
    page.go("")
    page.wait("document.querySelector('[aria-label=Objectives] tbody tr')?.innerText.includes('burns fast')")
    assert "slo-burning shop/: SLO availability 99.9 %: burns its budget " in page.text().replace("\n", " ")
    page.value("document.querySelector('[aria-label=Objectives] a').click()")
    page.wait("location.hash == '#/service/shop' && document.querySelectorAll('[aria-label=Objectives] tbody tr').length == 4")
    rows = page.value("[...document.querySelectorAll('[aria-label=Objectives] tbody tr')].map((one) => one.innerText)")
    assert (
        "availability 99.9\xa0%" in rows[0]
        and "burns fast" in rows[0]
        and "latency 95\xa0% in 300ms" in rows[1]
        and "ok" in rows[1]
    )


def test_a_day_of_a_service_tells_traffic_and_states_to_pointer_and_keyboard(entered) -> None:
    page = entered
    page.go("service/shop")
    page.wait("document.querySelectorAll('.day').length == 6 && document.querySelectorAll('.band').length == 5")
    labels = page.value(
        "[...document.querySelectorAll('.band rect.bad')].map((one) => [one.getAttribute('aria-label'), one.tabIndex])"
    )
    assert all(tab == 0 for _, tab in labels)
    assert [text.partition(" ")[0] for text, _ in labels] == ["ejected", "down", "down"]
    assert labels[1][0].endswith("(25 min): health check: connection refused")
    page.value("document.querySelectorAll('.band rect.bad')[1].focus()")
    page.wait("document.querySelector('.told').innerText.endsWith('(25 min): health check: connection refused')")
    page.value(
        "const moment = document.querySelector('input[type=range]'); moment.value = 100; moment.dispatchEvent(new Event('input'))"
    )
    said = page.wait(
        "document.querySelector('.day line') && document.querySelector('input[type=range]').getAttribute('aria-valuetext')"
    )
    assert "requests/s" in said and "p50" in said and "p99" in said
    page.click("h1 + p a")
    page.wait("location.hash == '#/events?service=shop' && document.querySelectorAll('.band').length == 5")


def test_requests_tell_what_is_open_and_what_was_refused_and_why(entered, staged) -> None:
    page = entered
    with staged.connect() as client:
        client.send(b"POST /hangs<b> HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 9\r\n\r\nabc")
        page.go("requests")
        page.wait(
            "document.querySelectorAll('h2')[0].innerText == '1 request open' && document.querySelectorAll('table').length == 2"
        )
        assert "POST shop.example/hangs<b>" in page.value("document.querySelector('tbody').innerText")
        assert "sending" in page.value("document.querySelector('tbody').innerText")
    page.wait("document.querySelector('main').innerText.includes('No request is open.')")
    assert {"429 refused", "500 failed"} <= set(page.value("[...document.querySelectorAll('.mark')].map((one) => one.innerText)"))
    assert "backend_status" in page.text() and "http_request_denied" in page.text()
    page.value("const kind = document.querySelector('select'); kind.value = 'refused'; kind.dispatchEvent(new Event('change'))")
    marks = "[...document.querySelectorAll('tbody .mark')].map((one) => one.innerText)"
    page.wait(f"{marks}.length && {marks}.every((text) => text == '429 refused')")
    assert page.value("location.hash") == "#/requests?kind=refused"


def test_limits_tell_what_they_allow_and_what_they_refused(entered) -> None:
    page = entered
    page.go("limits")
    rows = page.wait(
        "document.querySelectorAll('table').length >= 2 && [...document.querySelectorAll('tbody tr')].map((one) => one.innerText)"
    )
    (rate,) = [row for row in rows if "rate limit" in row]
    assert "shop/api" in rate and "0.5/s, 5 at once, for each client-ip" in rate
    assert int(rate.split("\t")[4]) >= 30, "40 requests in a row, within 10 s even on a busy machine"
    assert any("100 at once for each client" in row for row in rows)
    assert any("web-1" in row and row.endswith("\t50") for row in rows)


def test_a_rollback_is_tried_and_confirmed_with_its_reason(entered) -> None:
    page = entered
    page.go("generations")
    page.wait("document.querySelectorAll('tbody tr').length == 2")
    assert page.value("document.querySelector('tbody tr').innerText.includes('runs')")
    page.wait("document.querySelector('.diff li')?.innerText.includes('weight 2 → 3')")
    page.value("[...document.querySelectorAll('button')].find((one) => one.innerText == 'Roll back to 1').click()")
    page.wait("document.querySelector('form.act li')?.innerText.includes('weight 3 → 2')")
    page.type("form.act input[name=reason]", "too much for it")
    page.click("form.act button[type=submit]")
    page.wait("document.querySelectorAll('tbody tr').length == 3")
    page.wait("document.querySelector('tbody tr').innerText.includes('rollback to generation 1 by ada: too much for it')")
    page.go("audit?action=rollback")
    page.wait("document.querySelector('tbody')?.innerText.includes('too much for it')")
    page.go("changes")
    page.wait("document.querySelector('main').innerText.includes('Nothing overrides the configuration file.')")
    assert REASON in page.text(), "a drain is not a part of a generation"


def test_the_focus_follows_a_form_that_opens_and_closes(entered) -> None:
    page = entered
    page.go("service/shop")
    page.wait("document.querySelector('[data-act]')")
    page.value("[...document.querySelectorAll('button')].find((one) => one.innerText == 'Maintain').click()")
    page.wait("document.activeElement.name == 'reason' && document.activeElement.form.innerText.startsWith('Maintain')")
    page.call("Input.dispatchKeyEvent", type="keyDown", key="Escape")
    page.wait("document.activeElement.innerText == 'Maintain' && document.querySelector('form.act') === null")
    page.go("changes")
    page.wait("document.querySelector('[data-act=reload]')")
    page.click("[data-act=reload]")
    page.wait("document.activeElement.closest('form.act') !== null")


def test_a_revoked_login_ends_the_page_at_once(entered) -> None:
    page = entered
    page.go("service/shop")
    assert page.value("fetch('api/auth/users/ada/logout', { method: 'POST' }).then((answer) => answer.ok)")
    page.wait("document.querySelector('input[name=username]')")
    assert "shop" not in page.value("document.querySelector('main').innerText")
    assert page.value("location.hash") == "#/service/shop", "the next login leads back"
    page.type("input[name=username]", "ada")
    page.type("input[name=password]", GOOD)
    page.click("button[name=send]")
    page.wait("document.querySelector('h1')?.innerText == 'shop'")

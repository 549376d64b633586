"""The dashboard in a real Chromium: what an operator sees on the first screen, and what no attacker may do with it."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..harness.authority import Authority
from ..harness.backends import ok
from ..harness.chromium import Chromium, Page
from ..harness.client import get
from ..harness.ports import free_port
from ..harness.terraster_process import Terraster, service
from ..harness.users_api import GOOD, make
from ..harness.waiting import wait_until

pytestmark = pytest.mark.needs("chromium")

FIRST = (1280, 800)  # the screen on which each incident has to be named
SOON = 3.0  # seconds after the page was opened


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """The file of the users, with an administrator."""
    make(tmp_path / "users.db")
    return tmp_path / "users.db"


@pytest.fixture
def opened(browser) -> Iterator[Callable[..., Page]]:
    """Makes pages, and ends them with the test."""
    pages: list[Page] = []

    def make_page(width: int = FIRST[0], height: int = FIRST[1], **media: str) -> Page:
        pages.append(browser.page(width, height, **media))
        return pages[-1]

    yield make_page
    for page in pages:
        page.close()


def entered(opened: Callable[..., Page], proxy: Any, *size: int, name: str = "ada", **media: str) -> Page:
    """A page that is logged in. name: of the user"""
    page = opened(*size, **media)
    page.open(f"http://127.0.0.1:{proxy.admin_port}/")
    page.wait("document.querySelector('input[name=username]') || document.querySelector('.headline')")
    if page.value("document.querySelector('.headline') === null"):
        page.type("input[name=username]", name)
        page.type("input[name=password]", GOOD)
        page.click("button[name=send]")
    page.wait("document.querySelector('.headline')")
    return page


def named(page: Page, *words: str) -> None:
    """All words are on the first screen, soon after it is opened again."""
    page.call("Page.reload")
    for word in words:
        page.wait(f"document.querySelector('.problems')?.innerText.includes({word!r})", SOON)
    assert page.value("document.querySelector('.problems').getBoundingClientRect().top") < FIRST[1]
    assert page.value("document.querySelector('.headline h1').innerText.includes('problem')")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_login_shows_what_runs_and_a_logout_ends_it(terraster, backend, users, opened) -> None:
    origin = backend(answer=lambda request: ok())
    proxy: Terraster = terraster(service(origin.url, name="shop", host="shop.test"), auth={"db_path": str(users)})
    page = entered(opened, proxy)
    page.wait("document.querySelector('.headline h1').innerText == 'No problems'")
    page.wait("document.querySelector('#who').innerText.includes('ada (admin)')")
    for _ in range(20):
        get(proxy.address, "/", host="shop.test")
    page.wait("parseFloat(document.querySelector('tbody td').innerText) > 0")
    page.value("location.hash = '#/service/shop'")
    page.wait(f"document.querySelector('main').innerText.includes({origin.url!r})")
    for name in ("certificates", "workers", "plugins", "changes", "audit", "users", "explain"):
        page.value(f"location.hash = '#/{name}'")
        title = "overrides" if name == "changes" else name
        page.wait(f"document.querySelector('h1').innerText.toLowerCase() == {title!r}")
    page.value(
        "real = fetch; window.fetch = async (path, more) => path.endsWith('revoke') ? new Response('{}', { status: 503 }) : real(path, more)"
    )
    page.click("#who button")
    page.wait("document.querySelector('.banner')?.innerText.startsWith('You are still logged in: ')")
    assert page.value("document.querySelector('#who').innerText.includes('ada')")
    page.value("window.fetch = real")
    page.click("#who button")
    page.wait("document.querySelector('input[name=username]')")
    page.open(f"http://127.0.0.1:{proxy.admin_port}/?again")
    page.wait("document.querySelector('input[name=username]')")
    assert [text for text in page.complaints() if "401" not in text] == []


def test_a_wrong_password_is_told_and_a_script_cannot_read_the_cookie(terraster, users, opened) -> None:
    proxy: Terraster = terraster(service("http://127.0.0.1:9"), auth={"db_path": str(users)})
    page = opened()
    page.open(f"http://127.0.0.1:{proxy.admin_port}/")
    page.wait("document.querySelector('input[name=username]')")
    page.type("input[name=username]", "ada")
    page.type("input[name=password]", "wrong")
    page.click("button[name=send]")
    page.wait("document.querySelector('[role=alert]').innerText.length > 5")
    page.value("document.querySelector('input[name=password]').value = ''")
    page.type("input[name=password]", GOOD)
    page.click("button[name=send]")
    page.wait("document.querySelector('.headline')")
    assert page.value("document.cookie") == ""


def test_a_backend_that_is_down(terraster, users, opened) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    proxy: Terraster = terraster(
        service(gone, name="shop"), health_check={"path": "/", "interval": "1s"}, auth={"db_path": str(users)}
    )
    named(entered(opened, proxy), "backend-down", "shop", gone, "connection refused")


def test_a_refused_reload(terraster, backend, users, opened) -> None:
    origin = backend(answer=lambda request: ok())
    proxy: Terraster = terraster(service(origin.url, name="shop"), auth={"db_path": str(users)})
    page = entered(opened, proxy)
    kept = proxy.config_file.read_text()
    try:
        proxy.config_file.write_text(kept + "\nworkers: many\n")
        proxy.ctl("reload")
        named(page, "reload-failed", "workers")
    finally:
        proxy.config_file.write_text(kept)
        proxy.ctl("reload")


def test_a_certificate_that_ends_in_three_days(terraster, users, tmp_path, opened) -> None:
    authority = Authority()

    chain, key = authority.issue("shop.test", days=3, begun=87).write(tmp_path)
    site = service("http://127.0.0.1:9", name="shop", host="shop.test", tls={"cert_file": str(chain), "key_file": str(key)})
    proxy: Terraster = terraster(site, auth={"db_path": str(users)})
    named(entered(opened, proxy), "certificate", "shop")


def test_a_worker_that_hangs(fresh, backend, users, opened) -> None:
    origin = backend(answer=lambda request: ok())
    proxy: Terraster = fresh(service(origin.url, name="shop"), auth={"db_path": str(users)}, workers=2)
    page = entered(opened, proxy)
    worker = proxy.workers()[0]
    with stopped(worker):
        wait_until(lambda: any(one["kind"] == "worker-silent" for one in proxy.status()["problems"]))
        named(page, "worker-silent", "has not responded")


def test_descriptors_that_are_used_up(fresh, backend, users, opened) -> None:
    origin = backend(answer=lambda request: ok())
    proxy: Terraster = fresh(service(origin.url, name="shop"), auth={"db_path": str(users)})
    page = entered(opened, proxy)
    master = proxy.pid
    kept = resource.prlimit(master, resource.RLIMIT_NOFILE)
    held = len(os.listdir(f"/proc/{master}/fd"))
    resource.prlimit(master, resource.RLIMIT_NOFILE, (int(held / 0.92), kept[1]))
    named(page, "descriptors", "master")
    resource.prlimit(master, resource.RLIMIT_NOFILE, kept)


def test_a_backend_that_answers_500(terraster, backend, users, opened) -> None:
    good = backend(answer=lambda request: ok())
    bad = backend(answer=lambda request: ok(status=b"500 Oops"))
    site = service(good.url, bad.url, name="shop", retry="off", outlier="off")
    proxy: Terraster = terraster(site, auth={"db_path": str(users)})
    page = entered(opened, proxy)
    for _ in range(60):
        get(proxy.address, "/")
    named(page, "backend-errors", bad.url, "5xx")


def test_names_and_reasons_stay_texts(terraster, backend, users, opened) -> None:
    origin = backend(answer=lambda request: ok())
    evil = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>'
    proxy: Terraster = terraster(service(origin.url, name="shop"), auth={"db_path": str(users)})
    page = entered(opened, proxy)
    proxy.ctl("backend", "drain", "shop", origin.url, "--reason", evil)
    page.value("location.hash = '#/service/shop'")
    page.wait("document.querySelector('main').innerText.includes('<script>window.ran=1')")
    page.value("location.hash = '#/audit'")
    page.wait("document.querySelector('main').innerText.includes('<script>window.ran=1')")
    assert page.value("window.ran === undefined && document.querySelector('main img, main script') === null")
    proxy.ctl("backend", "enable", "shop", origin.url)


def clicked(page: Page, text: str) -> None:
    """Click on the first button with this text."""
    page.wait(f"[...document.querySelectorAll('button')].some((one) => one.innerText == {text!r})")
    page.value(f"[...document.querySelectorAll('button')].find((one) => one.innerText == {text!r}).click()")


def test_an_operator_drains_weighs_and_reloads(terraster, backend, users, opened) -> None:
    make(users, "bob", "operator")
    one, two = backend(answer=lambda request: ok(b"one")), backend(answer=lambda request: ok(b"two"))
    proxy: Terraster = terraster(service(one.url, two.url, name="shop"), auth={"db_path": str(users)})
    page = entered(opened, proxy, name="bob")
    page.value("location.hash = '#/service/shop'")
    page.wait(f"document.querySelector('main').innerText.includes({one.url!r})")
    clicked(page, "Drain")
    page.type("input[name=reason]", "new kernel")
    page.type("input[name=for]", "1h")
    clicked(page, "Confirm")
    page.wait("document.querySelector('main').innerText.includes('new kernel')")
    assert {get(proxy.address, "/").body for _ in range(4)} == {b"two"}
    (place,) = proxy.status()["services"][0]["locations"]
    (drained,) = [known for known in place["backends"] if known["order"]]
    assert drained["url"] == one.url and drained["order"]["by"] == "bob" and drained["order"]["until"]
    clicked(page, "Enable")
    clicked(page, "Confirm")
    page.wait("!document.querySelector('main').innerText.includes('new kernel')")
    assert {get(proxy.address, "/").body for _ in range(4)} == {b"one", b"two"}
    clicked(page, "Weight")
    page.value("document.querySelector('input[name=weight]').value = ''")
    page.type("input[name=weight]", "0")
    clicked(page, "Confirm")
    wait_until(lambda: {get(proxy.address, "/").body for _ in range(4)} == {b"two"})
    page.value("location.hash = '#/changes'")
    clicked(page, "Drop")
    clicked(page, "Confirm")
    wait_until(lambda: {get(proxy.address, "/").body for _ in range(4)} == {b"one", b"two"})
    clicked(page, "Reload the file")
    page.wait("document.querySelector('.act')?.innerText.includes('the file is what runs')")
    clicked(page, "Confirm")
    page.wait("document.querySelector('.act') === null")
    page.value("location.hash = '#/users'")
    page.wait("document.querySelector('[role=alert]')?.innerText.includes('bob has the role operator')")


def test_a_reader_sees_no_buttons_that_act(terraster, backend, users, opened) -> None:
    make(users, "eve", "reader")
    origin = backend(answer=lambda request: ok())
    proxy: Terraster = terraster(service(origin.url, name="shop"), auth={"db_path": str(users)})
    page = entered(opened, proxy, name="eve")
    page.value("location.hash = '#/service/shop'")
    page.wait(f"document.querySelector('main').innerText.includes({origin.url!r})")
    assert page.value("document.querySelectorAll('main button').length") == 0


def test_explanations_say_where_a_request_goes_and_keep_secrets(terraster, backend, users, opened) -> None:
    origin = backend(answer=lambda request: ok())
    rules = {"middleware": [{"headers": {"request_headers": {"Authorization": "Basic c2VjcmV0"}}}]}
    site = service(origin.url, name="shop", host="shop.test", location=rules)
    proxy: Terraster = terraster(site, auth={"db_path": str(users)})
    page = entered(opened, proxy)
    page.value("location.hash = '#/explain'")
    page.wait("document.querySelector('form.stack input')")
    page.value("document.querySelector('form.stack input').value = ''")
    page.type("form.stack input", "GET http://shop.test/a?token=1")
    clicked(page, "Explain")
    text = page.wait("document.querySelector('main pre')?.innerText")
    assert origin.url in text and "by its host shop.test" in text
    assert "c2VjcmV0" not in text and "token=1" not in text.partition("sent")[2] and "***" in text
    assert origin.requests == []


def test_the_next_user_sees_nothing_that_only_the_one_before_may_see(terraster, users, opened) -> None:
    make(users, "eve", "reader")
    proxy: Terraster = terraster(service("http://127.0.0.1:9"), auth={"db_path": str(users)})
    page = entered(opened, proxy)
    page.value("location.hash = '#/users'")
    page.wait("document.querySelector('main').innerText.includes('eve')")
    page.click("#who button")
    page.wait("document.querySelector('input[name=username]')")
    page.type("input[name=username]", "eve")
    page.type("input[name=password]", GOOD)
    page.click("button[name=send]")
    page.wait("document.querySelector('[role=alert]')?.innerText.includes('eve has the role reader')")
    assert page.value("document.querySelector('main table') === null")


def test_a_silent_stream_is_told_and_asked_for_again(terraster, users, opened) -> None:
    proxy: Terraster = terraster(service("http://127.0.0.1:9"), auth={"db_path": str(users)})
    page = entered(opened, proxy)
    (admin,) = [worker["pid"] for worker in proxy.status()["workers"] if worker["role"] == "admin"]
    page.value("real = Date.now, Date.now = () => real() + ahead, ahead = 0")
    with stopped(admin):
        page.value("ahead = 60000")
        page.wait("document.querySelector('.banner')?.innerText.includes('does not answer. What is shown is')")
    page.wait("document.querySelector('.banner') === null")


def test_an_element_that_becomes_another_one_acts_once_and_keeps_no_words(terraster, users, opened) -> None:
    proxy: Terraster = terraster(service("http://127.0.0.1:9"), auth={"db_path": str(users)})
    page = entered(opened, proxy)
    clicks = """(async () => {
      const { h, show } = await import("./dashboard/dom.js");
      const box = document.createElement("div");
      let clicks = 0;
      const button = (known) => h("button", known ? { onclick: () => (clicks += 1) } : {});
      for (const known of [true, false, true, false, true]) show(box, button(known));
      box.firstChild.click();
      return clicks;
    })()"""
    assert page.value(clicks) == 1
    page.value("location.hash = '#/service/site'")
    clicked(page, "Drain")
    page.type("input[name=reason]", "4711")
    clicked(page, "Weight")
    assert page.wait("document.querySelector('input[name=weight]')?.value") == "1"


def test_a_thousand_backends_stay_usable(terraster, users, opened) -> None:
    urls = [f"http://127.0.0.1:9/{number}" for number in range(1000)]
    proxy: Terraster = terraster(service(*urls, name="many"), auth={"db_path": str(users)})
    page = entered(opened, proxy)
    page.value("location.hash = '#/service/many'")
    page.wait("document.querySelectorAll('tbody tr').length == 50 && document.querySelector('main').innerText.includes('950 more')")
    page.type("input[type=search]", ":9/77")
    page.wait("document.querySelectorAll('tbody tr').length == 11")  # 77, and 770 to 779
    assert [text for text in page.complaints() if "401" not in text] == []

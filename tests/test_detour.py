from __future__ import annotations

from scrapy import Request

from scrapy_capsolver._request.redirects import way_back
from scrapy_capsolver._request.state import RequestState, note_origin

PAGE = "http://shop.example/page"
COOKIE = {"session": "mine"}


def solved(state: RequestState) -> Request:
    """What was made of a request for PAGE: a form's submission, with the cookies of the challenge."""
    page = Request(PAGE, cookies=COOKIE, headers={"X-Own": "1"})
    state.origin = note_origin(page, ["Content-Type", "Referer"])
    return page.replace(
        url="http://shop.example/verify",
        method="POST",
        body="g-recaptcha-response=old",
        headers={"X-Own": "1", "Content-Type": "application/x-www-form-urlencoded", "Referer": PAGE},
        cookies=[{"name": "session", "value": "the gate's"}],
    )


def test_a_new_solution_goes_into_the_request_as_it_was_before_the_old_one() -> None:
    state = RequestState(attempts=1, solution_id="t")
    request = solved(state)
    request.meta.update(redirect_urls=["http://shop.example/verify"], redirect_times=1, redirect_reasons=[302], mine=1)
    base, origin, go_back = way_back(request, state, to_form=False)
    assert (base.url, base.method, base.body, base.cookies) == (PAGE, "GET", b"", COOKIE)
    assert base.headers.to_unicode_dict() == {"X-Own": "1"}
    assert base.meta == {"mine": 1}
    assert origin == state.origin
    assert not go_back


def test_a_first_solution_goes_into_the_request_itself() -> None:
    request = Request(PAGE, method="POST", body="q=1")
    assert way_back(request, RequestState(), to_form=True) == (request, None, False)


def test_the_way_back_is_kept_where_the_gates_form_is_rejected() -> None:
    state = RequestState(attempts=1, solution_id="t", go_back=True)
    base, _, go_back = way_back(solved(state), state, to_form=True)
    assert base.method == "GET"
    assert go_back

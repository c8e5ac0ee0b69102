"""Page tokens that nobody can make or change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feature.paging import PageTokens
from shared.kernel.errors import ServiceError

TOKENS = PageTokens(b"k" * 32)


def refused(token: str, category: str = "", tokens: PageTokens = TOKENS) -> str:
    with pytest.raises(ServiceError) as caught:
        tokens.open(token, category)
    return caught.value.reason.name


@given(st.text(), st.text())
def test_a_token_gives_back_where_its_page_ended(last_id: str, category: str) -> None:
    assert TOKENS.open(TOKENS.seal(last_id, category), category) == last_id


def test_a_token_of_another_list_is_refused() -> None:
    assert refused(TOKENS.seal("i1", "jazz"), "rock") == "PAGE_TOKEN_INVALID"
    assert refused(TOKENS.seal("i1", "jazz"), "") == "PAGE_TOKEN_INVALID"


def test_id_and_category_cannot_change_places() -> None:
    assert refused(TOKENS.seal("ab", "c"), "bc") == "PAGE_TOKEN_INVALID"


def test_a_token_of_another_store_is_refused() -> None:
    assert refused(PageTokens(b"x" * 32).seal("i1", "")) == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("token", ["", "a", "AAAA", "ünï", "====", "A" * 1024, "not a token"])
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refused(token) == "PAGE_TOKEN_INVALID"


@given(st.data())
def test_a_token_with_any_other_character_is_refused(data: st.DataObject) -> None:
    token = TOKENS.seal("item-17", "jazz")
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters(codec="ascii").filter(lambda other: other != token[place]))

    assert refused(token[:place] + character + token[place + 1 :], "jazz") == "PAGE_TOKEN_INVALID"
    assert refused(token + character, "jazz") == "PAGE_TOKEN_INVALID"

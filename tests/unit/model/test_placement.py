"""A placement, as it is pinned and as it is shown."""

import json

import pytest

from authsome.model.injection import (
    BasicInjection,
    BodyInjection,
    FixedHeader,
    HeaderInjection,
    PathInjection,
    Placement,
    QueryInjection,
)

EVERY = Placement(
    (
        HeaderInjection("X-Key", ""),
        BasicInjection("password", "api"),
        QueryInjection("key"),
        PathInjection("bot"),
        BodyInjection("token"),
        FixedHeader("X-Version", "1"),
    ),
    ("X-Old-Key",),
    scrub=False,
)


@pytest.mark.parametrize("placement", [EVERY, Placement((HeaderInjection("Authorization"),))])
def test_what_is_pinned_reads_back_as_the_same(placement: Placement) -> None:  # P18
    assert Placement.from_json(json.loads(json.dumps(placement.to_json()))) == placement


def test_it_is_shown_in_words() -> None:
    assert str(EVERY) == ("header X-Key, Basic password, query ?key=, path /bot…/, body field token, left in answers")
    assert str(Placement((HeaderInjection("Authorization"),))) == "header Authorization: Bearer"

"""Errors tell the value that was wrong as its sender wrote it."""

from uuid import UUID

from market_maker.domain.errors import InvalidRequest, shorten


def test_an_id_is_told_as_it_was_written() -> None:
    """It was told as Python writes it: UUID('00000000-0000-7000-8000-000000000001')."""
    wrong = UUID("00000000-0000-7000-8000-000000000001")
    error = InvalidRequest.of("scope_id", wrong, "none for ALL")
    assert error.detail == f"scope_id: {wrong} is not allowed; allowed: none for ALL"
    assert error.errors[0].value == str(wrong)


def test_a_long_value_is_cut_and_what_utf8_cannot_carry_is_written_out() -> None:
    assert shorten("a" * 200) == "a" * 99 + "…"
    assert shorten("\ud800") == "\\ud800"
    assert shorten(None) == "None"

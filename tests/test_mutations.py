"""The list of checks that can be deleted is up to date."""

from __future__ import annotations

import pytest

from tests.mutations import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_check_stands_where_the_list_says(mutation: Mutation) -> None:
    """The text occurs once, its replacement differs, and the tests that should notice exist."""

    assert (ROOT / mutation.module).read_text().count(mutation.check) == 1
    assert mutation.instead != mutation.check
    for test in mutation.tests.split():
        path, _, name = test.partition("::")
        assert (ROOT / path).exists()
        assert not name or f"def {name.partition('[')[0]}(" in (ROOT / path).read_text()


def test_every_check_has_a_name_of_its_own() -> None:
    """The name selects the check on the command line."""

    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)

"""What the words of a statement mean for the open transaction that it runs in."""

import pytest

from proxy.sql.statement import describe_statement


@pytest.mark.parametrize(
    "sql",
    [
        "savepoint a",
        "release a",
        "rollback to a",
        "ROLLBACK WORK TO SAVEPOINT a",
        "rollback transaction to a",
    ],
)
def test_words_of_savepoints_stay_within_their_transaction(sql):
    assert describe_statement(sql).within_transaction


@pytest.mark.parametrize("sql", ["rollback", "rollback and chain", "commit", "select 1", "abort"])
def test_other_words_do_not(sql):
    assert not describe_statement(sql).within_transaction


@pytest.mark.parametrize(
    "sql",
    ["set local DateStyle = 'German'", 'set local "bytea_output" to escape', "set local names 'x'"],
)
def test_a_set_local_that_changes_how_values_are_read_is_known(sql):
    assert describe_statement(sql).changes_reading


@pytest.mark.parametrize(
    "sql", ["set local work_mem = 1", "set local time zone 'UTC'", "set local app.names = '1'"]
)
def test_another_set_local_is_not(sql):
    assert not describe_statement(sql).changes_reading

"""The how-to guides for clients: every block of code is run, and prints what the page says."""

from pathlib import Path

import pytest

from tests.fixtures.guide import read_blocks, run_blocks
from tests.fixtures.service import observe, run_client

FOLDER = Path(__file__).parents[2] / "docs" / "how-to"
PAGES = {"curl": "sh", "python": "python", "javascript": "js", "shell": "sh"}
SAVED = """\
-- param: user int4
-- read_only: true
select id, placed_on, amount from orders where user_id = :user order by id
"""
# Two of three inserts fail as a conflict does, so that a guide has to send them again.
TABLES = """
create sequence attempts;
create table payments (id uuid primary key, account int not null, amount numeric not null);
create table events (id int generated always as identity, what text not null);
alter table payments owner to app;
alter table events owner to app;
alter sequence attempts owner to app;
create function conflict() returns trigger language plpgsql as $$
begin
    if nextval('attempts') % 3 <> 0 then
        raise 'could not serialize access' using errcode = '40001';
    end if;
    return new;
end $$;
create trigger conflict before insert on payments for each row execute function conflict();
"""


@pytest.fixture
async def _tables(upstream):
    async with observe(upstream) as admin:
        await admin.execute(TABLES)
        yield
        await admin.execute(
            "drop table payments, events; drop function conflict; drop sequence attempts"
        )


@pytest.fixture
async def client(upstream, tmp_path, _tables):
    folder = tmp_path / "queries"
    folder.mkdir()
    (folder / "user-orders.sql").write_text(SAVED)
    pool = {"size": 4, "overflow": 0}
    async with run_client(upstream, pool=pool, sql={"named_dir": folder}) as running:
        yield running


async def assert_prints_what_it_says(page, client, tmp_path, *, has_transactions):
    blocks = [
        block
        for block in read_blocks(FOLDER / f"use-from-{page}.md")
        if has_transactions or "transaction" not in block.title
    ]
    printed = await run_blocks(blocks, client.service.url, tmp_path)
    assert printed == [block.output for block in blocks]


@pytest.mark.parametrize("page", PAGES)
async def test_every_block_prints_what_the_page_says(page, client, tmp_path, upstream):
    has_transactions = upstream.pool_mode != "statement"
    await assert_prints_what_it_says(page, client, tmp_path, has_transactions=has_transactions)


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_left_out(page):
    """Each fence of the page begins or ends a block, and all blocks have its one language."""
    path = FOLDER / f"use-from-{page}.md"
    blocks = read_blocks(path)
    outputs = [block for block in blocks if block.output]
    assert path.read_text().count("```") == 2 * (len(blocks) + len(outputs))
    assert {block.language for block in blocks} == {PAGES[page]}

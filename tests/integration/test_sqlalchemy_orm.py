"""The patterns of an ordinary async application, on the service's engine: fresh, and lane-worn."""

import asyncio

import pytest
from sqlalchemy import func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError, MissingGreenlet
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import selectinload

from tests.fixtures.models import (
    Author,
    Book,
    Genre,
    open_library,
    run_engine,
    run_used_engine,
)
from tests.fixtures.service import build_settings

pytestmark = pytest.mark.blocks  # a statement pool's engine has no transactions

ADA = select(Author).where(Author.name == "Ada")
ENGINES = {"fresh": run_engine, "lane-worn": run_used_engine}


@pytest.fixture(scope="module")
async def library(upstream):
    async with open_library(upstream.postgres_dsn):
        yield


@pytest.fixture(params=ENGINES)
async def engine(request, upstream, library):
    settings = build_settings(upstream, pool={"size": 3, "overflow": 0})
    async with ENGINES[request.param](settings) as engine:
        yield engine


@pytest.fixture
def sessions(engine):
    return async_sessionmaker(engine, expire_on_commit=False)


@pytest.fixture
async def session(sessions):
    """One transaction, which no other test sees."""
    async with sessions() as session:
        yield session


async def test_get_finds_by_primary_key(session):
    ada = (await session.scalars(ADA)).one()
    assert (await session.get(Author, ada.id)) is ada
    assert (await session.get(Author, -1)) is None


async def test_select_brings_scalars(session):
    names = await session.scalars(select(Author.name).order_by(Author.name))
    assert names.all() == ["Ada", "Edsger", "Grace"]


async def test_enum_comes_back_as_its_member(session):
    genres = await session.scalars(select(Book.genre).distinct().order_by(Book.genre))
    assert genres.all() == [Genre.NOVEL, Genre.ESSAY]


async def test_session_streams(session):
    streamed = await session.stream_scalars(select(Book.title).order_by(Book.id))
    assert [title async for title in streamed][:2] == ["Ada NOVEL", "Ada ESSAY"]


async def test_core_streams_many_rows(engine):
    async with engine.connect() as connection:
        streamed = await connection.stream(text("select generate_series(1, 10000)"))
        assert sum([number async for (number,) in streamed]) == 50_005_000


async def test_stream_may_be_left_in_the_middle(engine):
    async with engine.connect() as connection:
        async with connection.stream(text("select generate_series(1, 10000)")) as streamed:
            assert (await streamed.first()) == (1,)
        assert await connection.scalar(text("select 2")) == 2


async def test_selectinload_brings_the_related(session):
    ada = (await session.scalars(ADA.options(selectinload(Author.books)))).one()
    assert [book.title for book in ada.books] == ["Ada NOVEL", "Ada ESSAY"]


async def test_awaitable_attributes_load_when_awaited(session):
    ada = (await session.scalars(ADA)).one()
    books = await ada.awaitable_attrs.books
    assert (await books[0].awaitable_attrs.author) is ada


async def test_lazy_load_outside_of_a_greenlet_is_told(session):
    ada = (await session.scalars(ADA)).one()
    with pytest.raises(MissingGreenlet):
        _ = ada.books


async def test_what_is_lazy_raise_raises(session):
    ada = (await session.scalars(ADA)).one()
    with pytest.raises(InvalidRequestError, match="lazy='raise'"):
        await ada.awaitable_attrs.letters


async def test_run_sync_may_load_lazily(session):
    def titles(sync_session):
        return [book.title for book in sync_session.scalars(ADA).one().books]

    assert await session.run_sync(titles) == ["Ada NOVEL", "Ada ESSAY"]


async def test_run_sync_inspects_the_tables(engine):
    async with engine.connect() as connection:
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names("library"))
    assert set(tables) == {"authors", "books", "letters"}


async def test_sessions_run_side_by_side(sessions):
    async def count(name):
        async with sessions() as session:
            by_name = select(func.count(Book.id)).join(Author).where(Author.name == name)
            return await session.scalar(by_name)

    async with asyncio.TaskGroup() as tasks:
        counts = [tasks.create_task(count(name)) for name in ("Ada", "Edsger", "Grace") * 5]
    assert [task.result() for task in counts] == [2] * 15


async def test_committed_objects_need_no_reload(sessions):
    async with sessions() as session, session.begin():
        author = Author(name="Barbara")
        session.add(author)
    assert author.name == "Barbara"
    async with sessions() as session, session.begin():
        await session.delete(await session.get(Author, author.id))


async def test_bulk_insert_returns_its_keys(session):
    rows = [{"name": f"Author {number}"} for number in range(2500)]
    keys = await session.scalars(insert(Author).returning(Author.id), rows)
    assert len(set(keys)) == 2500


async def test_bulk_insert_without_keys(session):
    await session.execute(insert(Author), [{"name": f"Author {number}"} for number in range(2500)])
    counted = await session.scalar(select(func.count(Author.id)))
    assert counted == 2503


async def test_violation_tells_its_constraint(session):
    session.add(Author(name="Ada"))
    with pytest.raises(IntegrityError) as violation:
        await session.flush()
    assert violation.value.orig.sqlstate == "23505"
    assert violation.value.orig.__cause__.constraint_name == "one_author_per_name"


async def test_session_goes_on_after_a_rollback(session):
    session.add(Author(name="Ada"))
    with pytest.raises(IntegrityError):
        await session.flush()
    await session.rollback()
    assert (await session.scalars(ADA)).one().name == "Ada"


async def test_savepoint_saves_the_transaction(session):
    with pytest.raises(IntegrityError):
        async with session.begin_nested():
            session.add(Author(name="Ada"))
    assert (await session.scalars(ADA)).one().name == "Ada"


async def test_settings_of_a_flight_are_not_in_the_session(session):
    assert await session.scalar(text("select current_setting('TimeZone')")) != "Asia/Tokyo"

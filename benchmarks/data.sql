-- The benchmarks' data; run once by psql, in a database of its own.
set synchronous_commit = off;

create table users (
    id int primary key,
    name text not null,
    email text not null,
    created_at timestamptz not null,
    balance numeric(12, 2) not null
);
insert into users
select n, 'User ' || n, 'user' || n || '@example.com',
    timestamptz '2025-01-01 00:00:00+00' + n * interval '17.25 seconds', n * 1.37
from generate_series(1, 100000) as n;

-- Milliseconds, not microseconds: JavaScript's dates have no more.
create table mixed (
    id int8 not null,
    quantity int4,
    label text not null,
    amount numeric(12, 2) not null,
    seen_at timestamptz not null,
    is_open bool not null,
    ratio float8 not null,
    key uuid not null
);
insert into mixed
select n, case when n % 10 <> 0 then n % 1000 end, 'label number ' || n,
    (n % 100000) * 1.37,
    timestamptz '2025-01-01 00:00:00+00' + n * interval '1.25 seconds',
    n % 3 = 0, sqrt(n), md5(n::text)::uuid
from generate_series(1, 4000000) as n;
alter table mixed add primary key (id);

create unlogged table loaded (like mixed);
vacuum (freeze, analyze) users, mixed;

-- name: find_full_counter(keys, most, seconds, in_progress)^
-- If a counter is full: the seconds until none is, and whether the newest attempt in every full counter is so recent
-- that it may still be in progress, and be given back. Read this before counting, so that a refused attempt locks and
-- writes nothing.
select
    (max(extract(epoch from counters.times[asked.most] - now()) + asked.seconds))::double precision as seconds,
    bool_and(counters.times[1] > now() - make_interval(secs => :in_progress)) as in_progress
from unnest(:keys::bytea [], :most::integer [], :seconds::integer []) as asked (key, most, seconds)
inner join failed_sign_ins as counters on counters.key = asked.key
where counters.times[asked.most] > now() - make_interval(secs => asked.seconds)
having count(*) > 0;

-- name: count_attempt(keys, most, seconds)
-- Count an attempt before the password is verified, and return the counters that counted it: those that are not full. A
-- counter is full if the time at index `most`, counted from the newest, is in the period that ends now. One statement
-- decides and counts while it has the row locked, so of any number of concurrent attempts, at most `most` are counted.
with asked as (
    select asked.key, asked.most, make_interval(secs => asked.seconds) as period, asked.place
    from unnest(:keys::bytea [], :most::integer [], :seconds::integer [])
    with ordinality as asked (key, most, seconds, place)
)
insert into failed_sign_ins as counters (key, times, over_at)
select asked.key, array[now()], now() + asked.period
from asked
order by asked.place -- the same order for everyone, so that no deadlock can arise
on conflict (key) do update set
times = (
    select (excluded.times || counters.times)[1:(asked.most)]
    from asked
    where asked.key = counters.key
),
over_at = greatest(excluded.over_at, counters.over_at)
where (
    select coalesce(counters.times[asked.most] <= now() - asked.period, true)
    from asked
    where asked.key = counters.key
)
returning counters.key, counters.times[1] as counted_at;

-- name: give_attempt_back(key, counted_at)!
-- Take an attempt that did not fail out of the counter: only one time, even if another is equal to the microsecond. A
-- counter without other times expires now.
update failed_sign_ins set
times = times[1:(array_position(times, :counted_at) - 1)] || times[(array_position(times, :counted_at) + 1):],
over_at = case when cardinality(times) = 1 then now() else over_at end
where key = :key and :counted_at = any(times);

-- name: prune_failed_sign_ins(rows)$
-- Delete a batch of counters whose attempts no longer count; how many were deleted. Skip locked ones, so that nobody
-- waits here; the next run deletes them.
with old as (
    select key
    from failed_sign_ins
    where over_at <= now()
    order by over_at
    limit :rows
    for update skip locked
),
pruned as (
    delete from failed_sign_ins
    using old
    where failed_sign_ins.key = old.key
    returning failed_sign_ins.key
)
select count(*)
from pruned;

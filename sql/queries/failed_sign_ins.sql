-- name: find_full_counter(keys, most, seconds, in_progress)^
-- Where one of the counters is full: how long until none is, and whether each holds attempts that are so young that
-- they may be in progress, and be given back. Read before counting, so that who is refused locks and writes nothing.
select
    (max(extract(epoch from counters.times[asked.most] - now()) + asked.seconds))::double precision as seconds,
    bool_and(counters.times[1] > now() - make_interval(secs => :in_progress)) as in_progress
from unnest(:keys::bytea [], :most::integer [], :seconds::integer []) as asked (key, most, seconds)
inner join failed_sign_ins as counters on counters.key = asked.key
where counters.times[asked.most] > now() - make_interval(secs => asked.seconds)
having count(*) > 0;

-- name: count_attempt(keys, most, seconds)
-- Count an attempt before the password is looked at, and return which counters have counted it: those that are not full.
-- A counter is full when the time in the place `most`, the newest being the first, is in the period that ends now. One
-- statement decides and counts while it has the row, so however many come at once, no more than that are counted.
with asked as (
    select asked.key, asked.most, make_interval(secs => asked.seconds) as period, asked.place
    from unnest(:keys::bytea [], :most::integer [], :seconds::integer [])
    with ordinality as asked (key, most, seconds, place)
)
insert into failed_sign_ins as counters (key, times, over_at)
select asked.key, array[now()], now() + asked.period
from asked
order by asked.place -- the same for everyone: no two wait for each other
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
-- The attempt did not fail: take its time out of the counter, but not another of the same microsecond. A counter that
-- has no other is over.
update failed_sign_ins set
times = times[1:(array_position(times, :counted_at) - 1)] || times[(array_position(times, :counted_at) + 1):],
over_at = case when cardinality(times) = 1 then now() else over_at end
where key = :key and :counted_at = any(times);

-- name: prune_failed_sign_ins(rows)$
-- Forget counters whose attempts all count no more; how many went, a batch at most. Those that somebody has locked are
-- left for the next time, so that nobody waits for anybody here.
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

-- A worker says that it lives, and hears how the others are. The first of a run gives it its instance.
-- ARGV: prefix, run, instance, worker, account, "1" where it has just come (back), window, key and generation of the limits it knows
local run, instance, worker, account, came = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local window, known_key, known_generation = ARGV[7], ARGV[8], ARGV[9]
local RUN_SECONDS = 3600   -- a run without any worker for so long has ended
local SETTLE_AGE = 125     -- seconds; CapSolver gives a task up after 120
local MOST_ORPHANS = 20    -- at a time

instance = redis.call('SET', key('run', run), instance, 'NX', 'GET', 'EX', RUN_SECONDS) or instance
redis.call('EXPIRE', key('run', run), RUN_SECONDS)
local this = run .. '@' .. instance
redis.call('SET', key('alive', worker), this, 'EX', ALIVE_SECONDS)
local known = redis.call('ZSCORE', key('workers', this), worker)
-- Who was ever in this run, whose tasks are to be looked after, and who shares the account.
for _, name in ipairs({key('workers', this), key('present', run), key('account', account)}) do
    redis.call('ZADD', name, now, worker)
    redis.call('EXPIRE', name, MONTH)
end
redis.call('ZREMRANGEBYSCORE', key('account', account), '-inf', now - ALIVE_SECONDS)
if redis.call('ZADD', key('runs'), 'NX', now, this) == 1 then
    redis.call('ZREMRANGEBYSCORE', key('runs'), '-inf', now - MONTH)
    redis.call('EXPIRE', key('runs'), MONTH)
end
for _, limits in ipairs({key('limits', this), key('limits', this) .. ':open'}) do
    redis.call('EXPIRE', limits, RUN_SECONDS)
end

-- What a dead worker has left: somebody must see whether it was paid.
local orphans = {}
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', key('present', run), '-inf', now - ALIVE_SECONDS)) do
    if not alive(dead) then
        local left = redis.call('SMEMBERS', key('open', dead))
        for _, id in ipairs(left) do
            local task = task_of(id)
            if not task or task.state == 'over' or task.worker ~= dead then
                redis.call('SREM', key('open', dead), id)
            elseif task.task == '' then
                -- It died between asking for its part and hearing of its task. Nobody knows whether there is one.
                book(task, 'possibly_paid', 1, task.nano)
                settle(id, task, true)
                task.moved = true
                forget(id, task)
            elseif now - task.created >= TASK_SECONDS then
                if not task.paid then
                    book(task, 'abandoned', 1, task.nano)
                end
                settle(id, task, true)
                task.moved = true
                forget(id, task)
            elseif not task.paid and task.account == account and #orphans < MOST_ORPHANS and
                (now - task.created >= SETTLE_AGE or redis.call('HEXISTS', task.limits, 'waiting') == 1) then
                task.state = 'settling'
                take_from(id, task, worker)
                keep_task(id, task)
                table.insert(orphans, {id = id, age = now - task.created, task = task})
            end
        end
        if redis.call('SCARD', key('open', dead)) == 0 then
            redis.call('ZREM', key('present', run), dead)
            redis.call('HDEL', key('knows', run), dead)
        end
    end
end

local heard = {
    instance = instance,
    workers = redis.call('ZCARD', key('account', account)),
    now = now,
}
if not known then
    heard.new = true
end
if known_key ~= '' then
    redis.call('HSET', key('knows', run), worker, known_key)
    redis.call('EXPIRE', key('knows', run), RUN_SECONDS)
end
if known_key == limits_of(this, run, window) and redis.call('HGET', known_key, 'generation') ~= known_generation then
    heard.lost = true  -- what it remembers of them must be said before any other takes from them
end
if #orphans > 0 then
    heard.orphans = orphans
end
if came == '1' then
    local times = {}
    for _, task_type in ipairs(redis.call('SMEMBERS', key('types'))) do
        times[task_type] = table.concat(redis.call('LRANGE', key('times', task_type), 0, -1), ' ')
    end
    heard.times = times
    heard.breaker = redis.call('HVALS', key('breaker', account))
end
return cjson.encode(heard)

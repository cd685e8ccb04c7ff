-- A worker gives a sign of life, and learns how the others are. The first of a run gives it its instance.
-- ARGV: run, instance, account, "1" if it has just connected, window, key, generation and version of the limits that it knows, and the
-- reservations that it knows as a JSON array, if it has just connected
local run, instance, account, came, window = ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1', ARGV[9]
local known_key, known_generation, known_version = ARGV[10], ARGV[11], tonumber(ARGV[12])
local RUN_SECONDS = 3600   -- a run without any worker for so long has ended
local SETTLE_AGE = 125     -- seconds; CapSolver gives a task up after 120
local MOST_ORPHANS = 20    -- at a time
local MOST_TYPES = 100

local begun = try('GET', key('run', run))
if begun and not string.match(begun, '^%w+%-%w+$') then
    damaged(key('run', run), '', 'is no beginning of a run')
    begun = nil
end
if begun then
    instance = begun
else
    redis.call('SET', key('run', run), instance)
end
redis.call('EXPIRE', key('run', run), RUN_SECONDS)
local this = run .. '@' .. instance
local known = try('ZSCORE', key('workers', this), WORKER)
local missed = known and try('ZSCORE', key('present', run), WORKER) == false

-- Who was ever in this run, and whose tasks are to be looked after.
for _, name in ipairs({key('workers', this), key('present', run)}) do
    local future = try('ZREMRANGEBYSCORE', name, now + DAY, '+inf')
    if future and future > 0 then
        damaged(name, '', 'has a time that cannot be')
    end
    try('ZADD', name, now, WORKER)
    try('EXPIRE', name, MONTH)
end
-- Who lives and shares the account.
local sharing = key('account', account)
try('ZADD', sharing, listened, WORKER)
try('EXPIRE', sharing, MONTH)
try('ZREMRANGEBYSCORE', sharing, '-inf', listened - ALIVE)
local future = try('ZREMRANGEBYSCORE', sharing, '(' .. string.format('%.6f', listened + 1), '+inf')
if future and future > 0 then
    damaged(sharing, '', 'has a time that cannot be')
end
try('ZREMRANGEBYSCORE', SEEN, '-inf', listened - DAY)
if try('ZADD', key('runs'), 'NX', now, this) == 1 then
    try('ZREMRANGEBYSCORE', key('runs'), '-inf', now - MONTH)
    try('EXPIRE', key('runs'), MONTH)
end
for _, limits in ipairs({key('limits', this), key('limits', this) .. ':open'}) do
    redis.call('EXPIRE', limits, RUN_SECONDS)
end

-- What was given to this worker while it could not hear: it does not know of it.
if came then
    local knows = {}
    for _, id in ipairs(cjson.decode(ARGV[13])) do
        knows[id] = true
    end
    for _, id in ipairs(try('SMEMBERS', key('open', WORKER)) or {}) do
        local task = not knows[id] and task_of(id)
        if task and task.worker == WORKER then
            if task.state == 'over' then
                if task.booked then
                    unbook(task, false)
                    keep_task(id, task)
                end
            elseif task.task == '' then
                settle(id, task, false)
                forget(id, task)
            else
                leave(id, task)
            end
        end
        if not knows[id] then
            try('SREM', key('open', WORKER), id)
        end
    end
end

-- What the dead had under way.
for _, dead in ipairs(try('ZRANGEBYSCORE', key('present', run), '-inf', now - ALIVE) or {}) do
    if not alive(dead) then
        for _, id in ipairs(try('SMEMBERS', key('open', dead)) or {}) do
            local task = task_of(id)
            if task and task.worker == dead and task.state ~= 'over' then
                if task.task == '' then
                    give_up(id, task, 'possibly_paid')  -- createTask was perhaps under way, and only the dead one could hear its answer
                else
                    leave(id, task)
                end
            end
        end
        try('ZREM', key('present', run), dead)
        try('HDEL', key('knows', run), dead)
    end
end

-- Tasks that no worker is at: somebody must see whether they were paid.
local orphans = {}
for _, id in ipairs(try('SRANDMEMBER', key('left', run), 5 * MOST_ORPHANS) or {}) do
    local task = task_of(id)
    if not task or task.state ~= 'left' or task.paid then
        try('SREM', key('left', run), id)
    elseif now - task.created >= TASK_SECONDS then
        give_up(id, task, 'abandoned')
    elseif task.account == account and #orphans < MOST_ORPHANS and
        (now - task.created >= SETTLE_AGE or task.limits ~= '' and try('HEXISTS', task.limits, 'waiting') == 1) then
        take(id, task, 'settling')
        table.insert(orphans, {id = id, age = now - task.created, task = task})
    end
end

local heard = {
    instance = instance,
    workers = try('ZCARD', sharing) or 1,
    now = now,
    new = known == false,
    bookings = count_in(key('ledger', this), COUNTER) or -1,
    booked = booked_in(key('ledger', this)),
    missed = missed,  -- it was taken for dead, and its tasks are others' by now, or nobody's
}
if known_key ~= '' then
    try('HSET', key('knows', run), WORKER, known_key)
    try('EXPIRE', key('knows', run), RUN_SECONDS)
    if known_key == limits_of(this, run, window) then
        -- What this worker remembers must be said before any other takes from them.
        heard.lost = try('HGET', known_key, 'generation') ~= known_generation
            or (count_in(known_key, 'version') or 0) < known_version
    end
end
if #orphans > 0 then
    heard.orphans = orphans
end
if came then
    local times = {}
    for _, task_type in ipairs(try('SRANDMEMBER', key('types'), MOST_TYPES) or {}) do
        local name, seconds = key('times', task_type), {}
        for place, text in ipairs(try('LRANGE', name, 0, 127) or {}) do
            local value = number(text, 0, 1000)
            if value then
                table.insert(seconds, value)
            else
                damaged(name, whole(place), 'is no number of seconds')
            end
        end
        if #seconds > 0 then
            times[task_type] = seconds
        end
    end
    heard.times = times
    local breaker = key('breaker', account)
    local states = {}
    local fields = try('HGETALL', breaker) or {}
    for place = 1, #fields, 2 do
        local state = decoded(fields[place + 1])
        local what = state and type(state.what) == 'table' and state.what
        if what and type(what.kind) == 'string' and type(state.ends) == 'number' and number(state.ends, 0, now + DAY) then
            table.insert(states, state)
        else
            damaged(breaker, fields[place], 'is no state of a breaker')
            try('HDEL', breaker, fields[place])
        end
    end
    heard.breaker = states
end
return done(cjson.encode(heard))

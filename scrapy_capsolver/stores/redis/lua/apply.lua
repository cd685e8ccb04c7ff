-- What a worker has to write, in its order, and once, however often it is sent.
-- ARGV: id of this batch, the ledger of the worker's run, how many entries of this worker it should have, the writes as JSON
-- Answers a JSON object: "forgot", and nothing was written, if the ledger has fewer entries of this worker; how many it has now ("count");
-- the entries of this batch ("booked": row, tasks, nano, ...); clearances that were not kept, since there is a newer one ("refused": site,
-- field, clearance, ...)
local MOST_CLEARANCES = 10000  -- of one site
local batch, ledger, expected = ARGV[5], ARGV[6], tonumber(ARGV[7])
local refused = {}
if try('HGET', SESSION, 'batch') == batch then
    return done(try('HGET', SESSION, 'answer') or '')
end
local entries = try('HEXISTS', ledger, COUNTER) and count_in(ledger, COUNTER)
if entries and entries < expected then
    return done(cjson.encode({forgot = true, count = entries}))
elseif entries == nil and expected > 0 then  -- it was damaged
    add(ledger, COUNTER, expected)
end
local writes = {}

function writes.open(one)  -- createTask has given the task's id
    local task = task_of(one.id) or described(one.task)
    if task.state == 'over' then
        if task.booked ~= 'possibly_paid' or task.worker ~= WORKER then
            return
        end
        unbook(task, true)
        under_way(one.id, task)
    end
    task.task, task.created, task.state = one.task.task, now, 'open'
    own(one.id, task)
    keep_task(one.id, task)
end

function writes.charge(one)  -- a task of the local allowance, while this server was away
    if not task_of(one.id) then
        local task = described(one.task)
        task.limits, task.limits_seconds = limits_of(one.this, one.run, one.window)
        reserve(one.id, task)
        own(one.id, task)
        keep_task(one.id, task)
    end
end

function writes.finish(one)
    local task = task_of(one.id) or described(one.task)
    if task.state == 'over' then
        if not task.booked or task.worker ~= WORKER then
            return
        end
        unbook(task, one.charged)
    elseif task.worker ~= WORKER and task.state == 'open' then
        return  -- another worker has taken it over
    end
    if task.paid then
        if one.account == 'solved' then
            book(task, 'undelivered', -1, -task.nano)  -- it is of use after all
        end
    elseif one.account then
        book(task, one.account, 1, one.charged and task.nano or 0)
    end
    settle(one.id, task, one.charged)
    forget(one.id, task)
end

function writes.leave(one)
    local task = task_of(one.id)
    if task and task.worker == WORKER and task.state ~= 'over' then
        leave(one.id, task)
    end
end

function writes.paid(one)  -- of a dead worker's task: it is solved, and may still be fetched by who needs it
    local task = task_of(one.id)
    if task and task.worker == WORKER and task.state == 'settling' then
        book(task, 'solved', 1, task.nano)
        book(task, 'undelivered', 1, task.nano)
        settle(one.id, task, true)
        task.paid = true
        leave(one.id, task)
    end
end

function writes.spend(one)
    local task = one.id and task_of(one.id)
    if task and task.worker ~= WORKER then
        return  -- what became of it is the other's to say
    end
    book(one.task, one.account, one.tasks, one.nano)
end

function writes.rebook(one)  -- what the server has forgotten of the ledger
    book(one, '', one.tasks, one.nano)
end

function writes.time(one)
    try('SADD', key('types'), one.type)
    try('LPUSH', key('times', one.type), one.seconds)
    try('LTRIM', key('times', one.type), 0, 127)
    try('EXPIRE', key('times', one.type), MONTH)
    try('EXPIRE', key('types'), MONTH)
end

function writes.save(one)
    local site = key('clearances', one.site)
    local text, held = clearance_in(site, one.field)
    if held then
        local fence = held.fence or 0
        local older = fence > one.fence or (fence == one.fence and held.solved_at > one.solved_at)
        if older and (not held.expires or held.expires > now) then
            for _, part in ipairs({one.site, one.field, text}) do
                table.insert(refused, part)
            end
            return
        end
    end
    if try('HSET', site, one.field, one.text) == 1 and redis.call('HLEN', site) > MOST_CLEARANCES then
        redis.call('HDEL', site, redis.call('HRANDFIELD', site))
    end
    local left = redis.call('TTL', site)
    redis.call('EXPIRE', site, whole(math.max(left, math.min(math.ceil((one.expires or now + MONTH) - now), MONTH), 1)))
    tell({kind = 'clearance', site = one.site, field = one.field, text = one.text, by = WORKER})
end

function writes.drop(one)
    local site = key('clearances', one.site)
    local _, held = clearance_in(site, one.field)
    if held and held.id == one.id then
        redis.call('HDEL', site, one.field)
        tell({kind = 'clearance', site = one.site, field = one.field, by = WORKER})
    end
end

function writes.land(one)  -- a flight is over
    local flight = key('flight', one.flight)
    local holder = try('GET', flight)
    local owner, claim = string.match(holder or '', '^(%w+)|%d+|(%w+)$')
    if owner == WORKER and claim == one.claim then
        redis.call('DEL', flight)
        tell({kind = 'flight', flight = one.flight, error = one.error, by = WORKER})
    end
end

function writes.breaker(one)
    local state = {name = one.name, ends = now + one.seconds, at = now, what = one.what}
    local breaker = key('breaker', one.account)
    try('HSET', breaker, one.name, cjson.encode(state))
    try('EXPIRE', breaker, 3600)
    tell({kind = 'breaker', account = one.account, seconds = one.seconds, what = one.what, by = WORKER})
end

function writes.record(one)
    local records = key('records', one.run)
    try('HSET', records, WORKER, one.text)
    try('EXPIRE', records, MONTH)
end

function writes.bye(one)
    for _, id in ipairs(try('SMEMBERS', key('open', WORKER)) or {}) do
        local task = task_of(id)
        if task and task.worker == WORKER and task.state ~= 'over' then
            if task.task == '' then
                settle(id, task, false)  -- it heard no more that it may create the task
                forget(id, task)
            else
                leave(id, task)
            end
        end
    end
    redis.call('DEL', key('open', WORKER))
    try('ZREM', key('account', one.account), WORKER)
    try('ZREM', key('present', one.run), WORKER)
    try('HDEL', key('knows', one.run), WORKER)
    try('ZREM', SEEN, WORKER)
end

for _, one in ipairs(cjson.decode(ARGV[8])) do
    writes[one.op](one)
end
local answer = cjson.encode({count = count_in(ledger, COUNTER) or 0, booked = booked_in(ledger), refused = refused})
try('HSET', SESSION, 'batch', batch, 'answer', answer)
return done(answer)

-- What a worker has to write, in its order, and once, however often it is sent.
-- ARGV: prefix, worker, id of this batch, the writes as JSON
-- Gives what became of clearances that were not kept, since there is a newer one: {site, field, clearance, ...}
local MOST_CLEARANCES = 10000  -- of one site
local worker = ARGV[2]
local refused = {}
if redis.call('GET', key('done', worker)) == ARGV[3] then
    return refused
end
redis.call('SET', key('done', worker), ARGV[3], 'EX', DAY)
local writes = {}

function writes.open(one)  -- createTask has given the task's id
    local task = task_of(one.id) or one.task
    if task.state == 'over' then
        return
    end
    task.task, task.created, task.state = one.task.task, now, 'open'
    own(one.id, task, worker)
    keep_task(one.id, task)
end

function writes.charge(one)  -- a task of the local allowance, while this server was away
    if not task_of(one.id) then
        one.task.limits, one.task.limits_seconds = limits_of(one.this, one.run, one.window)
        reserve(one.id, one.task)
        own(one.id, one.task, worker)
        keep_task(one.id, one.task)
    end
end

function writes.finish(one)
    local task = task_of(one.id) or one.task
    if task.state == 'over' or (task.worker and task.worker ~= worker) then
        return  -- somebody else has seen to it
    end
    task.worker = worker
    if task.paid then
        if one.account == 'solved' then
            book(task, 'undelivered', -1, -task.nano)  -- it is of use after all
        end
    elseif one.account then
        book(task, one.account, 1, one.charged and task.nano or 0)
    end
    if task.limits then
        settle(one.id, task, one.charged)
    end
    forget(one.id, task)
end

function writes.leave(one)  -- whoever needs the same may go on with it
    local task = task_of(one.id)
    if task and task.worker == worker and task.state ~= 'over' then
        task.state = 'left'
        keep_task(one.id, task)
    end
end

function writes.paid(one)  -- of a dead worker's task: it is solved, and may still be fetched by who needs it
    local task = task_of(one.id)
    if task and task.worker == worker and task.state == 'settling' then
        book(task, 'solved', 1, task.nano)
        book(task, 'undelivered', 1, task.nano)
        settle(one.id, task, true)
        task.paid, task.state = true, 'left'
        keep_task(one.id, task)
    end
end

function writes.spend(one)
    local task = one.id and task_of(one.id)
    if task and task.worker ~= worker then
        return  -- what became of it is the other's to say
    end
    book(one.task, one.account, one.tasks, one.nano)
end

function writes.time(one)
    redis.call('SADD', key('types'), one.type)
    redis.call('LPUSH', key('times', one.type), one.seconds)
    redis.call('LTRIM', key('times', one.type), 0, 127)
    redis.call('EXPIRE', key('times', one.type), MONTH)
    redis.call('EXPIRE', key('types'), MONTH)
end

function writes.save(one)
    local site = key('clearances', one.site)
    local text = redis.call('HGET', site, one.field)
    local held = text and decoded(text)
    if held then
        local older = held.fence > one.fence or (held.fence == one.fence and held.solved_at > one.solved_at)
        if older and (not held.expires or held.expires > now) then
            for _, part in ipairs({one.site, one.field, text}) do
                table.insert(refused, part)
            end
            return
        end
    end
    if redis.call('HSET', site, one.field, one.text) == 1 and redis.call('HLEN', site) > MOST_CLEARANCES then
        redis.call('HDEL', site, redis.call('HRANDFIELD', site))
    end
    local left = redis.call('TTL', site)
    redis.call('EXPIRE', site, math.max(left, math.min(math.ceil((one.expires or now + MONTH) - now), MONTH), 1))
    tell({kind = 'clearance', site = one.site, field = one.field, text = one.text, by = worker})
end

function writes.drop(one)
    local site = key('clearances', one.site)
    local text = redis.call('HGET', site, one.field)
    local held = text and decoded(text)
    if held and held.id == one.id then
        redis.call('HDEL', site, one.field)
        tell({kind = 'clearance', site = one.site, field = one.field, by = worker})
    end
end

function writes.land(one)  -- a flight is over
    local flight = key('flight', one.flight)
    local holder = redis.call('GET', flight)
    if holder and string.match(holder, '^(.*)|%d+$') == worker then
        redis.call('DEL', flight)
        tell({kind = 'flight', flight = one.flight, error = one.error, by = worker})
    end
end

function writes.breaker(one)
    local state = {name = one.name, ends = now + one.seconds, at = now, what = one.what}
    local breaker = key('breaker', one.account)
    redis.call('HSET', breaker, one.name, cjson.encode(state))
    redis.call('EXPIRE', breaker, 3600)
    tell({kind = 'breaker', account = one.account, seconds = one.seconds, what = one.what, by = worker})
end

function writes.record(one)
    local records = key('records', one.run)
    redis.call('HSET', records, worker, one.text)
    redis.call('EXPIRE', records, MONTH)
end

function writes.bye(one)
    redis.call('DEL', key('alive', worker))
    redis.call('ZREM', key('account', one.account), worker)
    redis.call('HDEL', key('knows', one.name), worker)
    if redis.call('SCARD', key('open', worker)) == 0 then
        redis.call('ZREM', key('present', one.name), worker)
    else
        redis.call('ZADD', key('present', one.name), now - ALIVE_SECONDS, worker)
    end
end

for _, one in ipairs(cjson.decode(ARGV[4])) do
    writes[one.op](one)
end
return refused

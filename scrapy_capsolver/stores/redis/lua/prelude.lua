-- What every script begins with. ARGV[1] is the prefix of all keys. Times are Unix seconds by the server's clock, since those of
-- the workers differ. The keys and their types are in docs/fleet.rst.
local PREFIX = ARGV[1]
local ALIVE_SECONDS = 10      -- a worker that has not been heard of for so long is dead
local TASK_SECONDS = 295      -- CapSolver answers for a task for 300
local DAY = 86400
local MONTH = 30 * DAY

local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

local function key(...)
    return table.concat({PREFIX, ...}, ':')
end

local function whole(number)
    return string.format('%.0f', number)
end

local function alive(worker)
    return redis.call('EXISTS', key('alive', worker)) == 1
end

-- What somebody else has written there means nothing.
local function decoded(text)
    local fine, value = pcall(cjson.decode, text)
    return fine and type(value) == 'table' and value or nil
end

local function tell(news)
    redis.call('PUBLISH', key('news'), cjson.encode(news))
end

-- Reservations: a part of the limits, and the task that it is for

local function task_of(id)
    local text = redis.call('GET', key('task', id))
    return text and cjson.decode(text)
end

local function keep_task(id, task)
    redis.call('SET', key('task', id), cjson.encode(task), 'EX', DAY)
end

local function own(id, task, worker)
    task.worker = worker
    redis.call('SADD', key('open', worker), id)
    redis.call('EXPIRE', key('open', worker), DAY)
    if task.mark ~= '' then
        redis.call('SADD', key('mark', task.mark), id)
        redis.call('EXPIRE', key('mark', task.mark), DAY)
    end
end

local function take_from(id, task, worker)
    redis.call('SREM', key('open', task.worker), id)
    task.moved = true
    own(id, task, worker)
end

-- The limits that count now: their key, and the seconds that they live without being used.
local function limits_of(this, run, window)
    if window == 'hour' then
        return key('limits', run, 'hour', whole(math.floor(now / 3600))), 2 * 3600
    elseif window == 'day' then
        return key('limits', run, 'day', whole(math.floor(now / DAY))), 2 * DAY
    end
    return key('limits', this), 3600
end

local function count(limits, task, sign)
    redis.call('HINCRBY', limits, 'u:s', sign)
    redis.call('HINCRBY', limits, 'u:n', whole(sign * task.nano))
    if task.by_site then
        redis.call('HINCRBY', limits, 'site:' .. task.site, sign)
    end
end

local function reserve(id, task)
    count(task.limits, task, 1)
    redis.call('HSET', task.limits .. ':open', id, cjson.encode({task.worker, task.nano, task.site}))
    redis.call('EXPIRE', task.limits .. ':open', task.limits_seconds)
    redis.call('EXPIRE', task.limits, task.limits_seconds)
end

-- The task has ended: its part is used up, or free again.
local function settle(id, task, charged)
    if redis.call('HDEL', task.limits .. ':open', id) == 0 then
        return
    end
    if not charged and redis.call('EXISTS', task.limits) == 1 then
        count(task.limits, task, -1)
    end
    if redis.call('HDEL', task.limits, 'waiting') == 1 then
        tell({kind = 'limits', key = task.limits})
    end
end

local function book(task, account, tasks, nano)
    redis.call('HINCRBY', task.ledger, task.row .. account .. '/tasks', tasks)
    redis.call('HINCRBY', task.ledger, task.row .. account .. '/nano', whole(nano))
    redis.call('EXPIRE', task.ledger, MONTH)
end

local function forget(id, task)
    redis.call('SREM', key('open', task.worker), id)
    redis.call('SREM', key('mark', task.mark), id)
    if task.moved then  -- its first worker may be heard of again
        task.state = 'over'
        keep_task(id, task)
    else
        redis.call('DEL', key('task', id))
    end
end

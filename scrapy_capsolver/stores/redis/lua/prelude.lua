-- What every script begins with. ARGV[1] is the prefix of all keys. Times are Unix seconds by the server's clock, since those of
-- the workers differ. The keys and their types are in docs/fleet.rst.
local PREFIX = ARGV[1]
local ALIVE_SECONDS = 10      -- a worker that has not been heard of for so long is dead
local TASK_SECONDS = 295      -- CapSolver answers for a task for 300
local OVER_SECONDS = 600      -- for which it is remembered that something has been done, should it be asked for once more
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

local function tell(news)
    redis.call('PUBLISH', key('news'), cjson.encode(news))
end

-- Reservations: a part of the limits, and the task that it is for

local function task_of(id)
    local text = redis.call('GET', key('task', id))
    return text and cjson.decode(text)
end

local function keep_task(id, task, seconds)
    redis.call('SET', key('task', id), cjson.encode(task), 'EX', seconds or DAY)
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
    own(id, task, worker)
end

local function count(limits, task, sign)
    redis.call('HINCRBY', limits, 'u:s', sign)
    redis.call('HINCRBY', limits, 'u:n', whole(sign * task.nano))
    if task.by_site then
        redis.call('HINCRBY', limits, 'u:' .. task.site, sign)
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
    task.state = 'over'
    keep_task(id, task, OVER_SECONDS)
end

-- A task is to be created: its part of the limits, or the open task of a dead worker that would be the same.
-- ARGV: prefix, id, worker, the task as JSON, run with instance, run, window, limits as JSON, what is known of them as JSON,
-- seconds for which new limits are held where something may have been forgotten, "1" where the server began lately
-- Gives {"take", id, task, age} | {"ok" | "wait" | "refuse" | "hold" | "lost", key, generation, used solves, nano, of the site, detail}
local BEAT_SECONDS = 2.5  -- in which a worker that lives is heard of
local id, worker, task = ARGV[2], ARGV[3], cjson.decode(ARGV[4])
local this, run, window = ARGV[5], ARGV[6], ARGV[7]
local most, known, grace, young = cjson.decode(ARGV[8]), cjson.decode(ARGV[9]), tonumber(ARGV[10]), ARGV[11] == '1'

if task.mark ~= '' then
    -- Some of them are enough: tasks that are all the same may be very many.
    for _, other in ipairs(redis.call('SRANDMEMBER', key('mark', task.mark), 20)) do
        local found = task_of(other)
        if not found or found.state == 'over' then
            redis.call('SREM', key('mark', task.mark), other)
        elseif other ~= id and found.task ~= '' and now - found.created < TASK_SECONDS and
            (found.state == 'left' or found.state == 'settling' or found.paid or not alive(found.worker)) then
            found.state = 'open'
            take_from(other, found, worker)
            keep_task(other, found)
            return {'take', other, cjson.encode(found), tostring(now - found.created)}
        elseif found.worker ~= worker and found.state == 'open' then
            -- Its worker may have been killed just now, and this one be its restart: wait for its next beat, or the lack of it.
            local seen = tonumber(redis.call('ZSCORE', key('workers', this), found.worker) or now)
            if now - seen > BEAT_SECONDS then
                return {'hold', '', '', '0', '0', '0', tostring(math.min(BEAT_SECONDS, redis.call('PTTL', key('alive', found.worker)) / 1000))}
            end
        end
    end
end

local limits, seconds = limits_of(this, run, window)
task.limits, task.limits_seconds, task.worker = limits, seconds, worker

local generation = redis.call('HGET', limits, 'generation')
local function answer(word, detail)
    local used = redis.call('HMGET', limits, 'u:s', 'u:n', 'site:' .. task.site)
    return {word, limits, generation or '', used[1] or '0', used[2] or '0', used[3] or '0', detail or ''}
end

if redis.call('HEXISTS', limits .. ':open', id) == 1 then
    return answer('ok')  -- it was asked before, and the answer got lost
end
if known.key == limits and generation ~= known.generation then
    return answer('lost')  -- the server has forgotten what this worker remembers
end
if not generation then
    generation = id
    -- They may be new, or the server has forgotten what others know of them.
    local forgotten = young
    local knows = redis.call('HGETALL', key('knows', run))
    for place = 1, #knows, 2 do
        forgotten = forgotten or (knows[place + 1] == limits and alive(knows[place]))
    end
    if not forgotten then
        grace = 0
    end
    redis.call('HSET', limits, 'generation', generation, 'hold', tostring(grace > 0 and now + grace or 0))
    redis.call('EXPIRE', limits, seconds)
end
local hold = tonumber(redis.call('HGET', limits, 'hold')) - now
if hold > 0 then
    return answer('hold', tostring(hold))
end

-- Limits that leave no room. Where only those stand in the way that are under way, their end is waited for.
local function in_the_way(solves, nano, of_site)
    if most.solves and solves >= most.solves then return 'MAX_SOLVES' end
    if most.site and of_site >= most.site then return 'MAX_SOLVES_PER_DOMAIN' end
    if most.nano and nano + task.nano > most.nano then return 'BUDGET' end
end
local used = redis.call('HMGET', limits, 'u:s', 'u:n', 'site:' .. task.site)
local solves, nano, of_site = tonumber(used[1] or 0), tonumber(used[2] or 0), tonumber(used[3] or 0)
if in_the_way(solves, nano, of_site) then
    local under_way = redis.call('HGETALL', limits .. ':open')
    for place = 1, #under_way, 2 do
        local part = cjson.decode(under_way[place + 1])
        if not alive(part[1]) and redis.call('EXISTS', key('task', under_way[place])) == 0 then
            redis.call('HDEL', limits .. ':open', under_way[place])  -- nobody will hear of it any more
        else
            solves, nano = solves - 1, nano - part[2]
            if part[3] == task.site then
                of_site = of_site - 1
            end
        end
    end
    local name = in_the_way(solves, nano, of_site)
    if name then
        return answer('refuse', name)
    end
    redis.call('HSET', limits, 'waiting', 1)
    return answer('wait')
end

reserve(id, task)
own(id, task, worker)
keep_task(id, task)
return answer('ok')

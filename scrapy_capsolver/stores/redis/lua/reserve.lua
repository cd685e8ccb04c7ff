-- A task is to be created: its part of the limits, or the open task of a dead worker that would be the same.
-- ARGV: id, the task as JSON, run with instance, run, window, limits as JSON, what is known of them as JSON, seconds for which new limits
-- are held if something may have been forgotten
-- Answers {"take", id, task, age} |
-- {"ok" | "wait" | "refuse" | "hold" | "lost" | "broken", key, generation, version, used solves, nano, of the site, detail}
local id, task = ARGV[5], described(cjson.decode(ARGV[6]))
local this, run, window = ARGV[7], ARGV[8], ARGV[9]
local most, known, grace = cjson.decode(ARGV[10]), cjson.decode(ARGV[11]), tonumber(ARGV[12])

if task.mark ~= '' then
    -- Some of them are enough: tasks that are all the same may be very many.
    for _, other in ipairs(try('SRANDMEMBER', key('mark', task.mark), 20) or {}) do
        local found = task_of(other)
        if not found or found.state == 'over' then
            try('SREM', key('mark', task.mark), other)
        elseif other ~= id and found.task ~= '' and now - found.created < TASK_SECONDS then
            local silent = found.state == 'open' and found.worker ~= WORKER and silence(found.worker)
            if found.state == 'left' or found.state == 'settling' or silent and silent >= ALIVE then
                take(other, found, 'open')
                return done({'take', other, cjson.encode(found), tostring(now - found.created)})
            elseif silent and silent > ALIVE / 4 then
                -- Its worker may have been killed just now, and this one be its restart: wait for its next sign of life, or the lack of it.
                return done({'hold', '', '', '0', '0', '0', '0', tostring(math.min(ALIVE - silent, ALIVE / 4))})
            end
        end
    end
end

local limits, seconds = limits_of(this, run, window)
task.limits, task.limits_seconds, task.worker = limits, seconds, WORKER

local generation, version, solves, nano, of_site
local function answer(word, detail)
    local numbers = {version or 0, solves or 0, nano or 0, of_site or 0}
    for place, value in ipairs(numbers) do
        numbers[place] = whole(value)
    end
    return done({word, limits, generation or '', numbers[1], numbers[2], numbers[3], numbers[4], detail or ''})
end

for _, name in ipairs({limits, limits .. ':open'}) do
    local kind = redis.call('TYPE', name).ok
    if kind ~= 'hash' and kind ~= 'none' then
        damaged(name, '', 'holds another kind of value')
        return answer('broken', name .. ' holds another kind of value')
    end
end

generation = redis.call('HGET', limits, 'generation')
if generation and not string.match(generation, '^[%w%-]+$') then
    damaged(limits, 'generation', 'is none')
    generation = nil
end
version, solves, nano = count_in(limits, 'version'), count_in(limits, 'u:s'), count_in(limits, 'u:n')
of_site = most.site and count_in(limits, 'site:' .. task.site) or not most.site and 0 or nil
if not (version and solves and nano and of_site) then
    generation = nil  -- the workers remember what could not be read
end
if not generation then
    redis.call('HDEL', limits, 'generation')
end

if redis.call('HEXISTS', limits .. ':open', id) == 1 then
    return answer('ok')  -- it was asked before, and the answer got lost
end
if known.key == limits and (generation ~= known.generation or (version or 0) < known.version) then
    return answer('lost')  -- the server has forgotten what this worker remembers
end
if not generation then
    generation = id
    -- They may be new, or the server has forgotten what others know of them.
    local held_until = math.max(born + grace, 0)
    local knows = try('HGETALL', key('knows', run)) or {}
    for place = 1, #knows, 2 do
        if knows[place + 1] == limits and alive(knows[place]) then
            held_until = now + grace
        end
    end
    redis.call('HSET', limits, 'generation', generation, 'hold', tostring(held_until))
    redis.call('EXPIRE', limits, seconds)
    version, solves, nano, of_site = version or 0, solves or 0, nano or 0, of_site or 0
end
local hold = redis.call('HGET', limits, 'hold')
local held_until = number(hold, 0, now + math.max(grace, 60))
if not held_until then
    damaged(limits, 'hold', hold and 'is no time' or 'is missing')
    held_until = now + grace
    redis.call('HSET', limits, 'hold', tostring(held_until))
end
if held_until > now then
    return answer('hold', tostring(held_until - now))
end

-- Limits that leave no room. If only tasks under way stand in the way, their end is waited for.
local function in_the_way()
    if most.solves and solves >= most.solves then return 'MAX_SOLVES' end
    if most.site and of_site >= most.site then return 'MAX_SOLVES_PER_DOMAIN' end
    if most.nano and nano + task.nano > most.nano then return 'BUDGET' end
end
if in_the_way() then
    local all = {solves, nano, of_site}
    local parts = redis.call('HGETALL', limits .. ':open')
    for place = 1, #parts, 2 do
        local part = decoded(parts[place + 1])
        local fine = part and type(part[1]) == 'string' and type(part[2]) == 'number' and type(part[3]) == 'string'
        if not fine then
            damaged(limits .. ':open', parts[place], 'is no part of the limits')
        end
        if not fine or (not alive(part[1]) and redis.call('EXISTS', key('task', parts[place])) == 0) then
            redis.call('HDEL', limits .. ':open', parts[place])  -- no worker knows of it, so it counts as used up
        else
            solves, nano = solves - 1, nano - part[2]
            if part[3] == task.site then
                of_site = of_site - 1
            end
        end
    end
    local name = in_the_way()
    solves, nano, of_site = unpack(all)
    if name then
        return answer('refuse', name)
    end
    redis.call('HSET', limits, 'waiting', 1)
    return answer('wait')
end

reserve(id, task)
own(id, task)
keep_task(id, task)
solves, nano, of_site, version = solves + 1, nano + task.nano, of_site + (most.site and 1 or 0), version + 1
return answer('ok')

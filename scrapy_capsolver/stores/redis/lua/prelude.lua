-- What every script begins with.
-- ARGV: prefix, worker, number of the worker's connection, seconds after which a silent worker is dead; then the script's own.
-- Returns {"ok", answer, key, field, fault, ...}, with all that was found damaged, or {"stale"}.
-- Times are Unix seconds by the server's clock, since the workers' clocks differ. The keys and their types are in docs/fleet.rst.
local PREFIX, WORKER, CONNECTION, ALIVE = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local TASK_SECONDS = 295      -- CapSolver answers for a task for 300
local DAY = 86400
local MONTH = 30 * DAY
local MOST = 2 ^ 53           -- whole numbers up to this one are exact
local MOST_DAMAGE = 100       -- entries in one answer

local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

local function key(...)
    return table.concat({PREFIX, ...}, ':')
end

local function whole(number)
    return string.format('%.0f', number)
end

-- Damaged keys. What cannot be read is reported, and counts as forgotten.

local damage = {}

local function damaged(name, field, fault)
    if #damage < 3 * MOST_DAMAGE then
        table.insert(damage, name)
        table.insert(damage, field)
        table.insert(damage, fault)
    end
end

local function done(answer)
    return {'ok', answer, unpack(damage)}
end

-- redis.call, but nil for a key of another type: nothing is read from it, and nothing is written to it.
local function try(command, name, ...)
    local answer = redis.pcall(command, name, ...)
    if type(answer) == 'table' and answer.err then
        if string.find(answer.err, 'WRONGTYPE', 1, true) then
            damaged(name, '', 'holds another kind of value')
            return nil
        end
        error(answer)
    end
    return answer
end

-- The number in a text, or nil. tonumber alone also reads "nan", "inf" and hexadecimal.
local function number(text, least, most)
    local value = text
    if type(text) == 'string' then
        value = string.match(text, '^%-?%d+%.?%d*$') and tonumber(text)
    end
    if type(value) == 'number' and value >= least and value <= most then
        return value
    end
end

local function decoded(text)
    local fine, value = pcall(cjson.decode, text)
    return fine and type(value) == 'table' and value or nil
end

-- A count in a hash; nil if it was damaged, and then it is deleted.
local function count_in(name, field)
    local text = try('HGET', name, field)
    if not text then
        return 0
    end
    local value = number(text, 0, MOST)
    if not value or value % 1 ~= 0 then
        damaged(name, field, 'is no count')
        try('HDEL', name, field)
        return nil
    end
    return value
end

local function add(name, field, by)
    local answer = redis.pcall('HINCRBY', name, field, whole(by))
    if type(answer) ~= 'table' then
        return
    elseif string.find(answer.err, 'WRONGTYPE', 1, true) then
        damaged(name, '', 'holds another kind of value')
    elseif string.find(answer.err, 'not an integer', 1, true) or string.find(answer.err, 'overflow', 1, true) then
        damaged(name, field, 'is no whole number')
        redis.call('HSET', name, field, whole(by))
    else
        error(answer)
    end
end

-- The connection. A server that stood still reads what was sent on connections that ended long ago. It must not act on that: whoever
-- sent it never hears the answer, and has sent it again.

local SESSION = key('session', WORKER)
local is_new = false

do
    local last = try('HGET', SESSION, 'connection')
    local newest = number(last, 1, MOST)
    if last and not newest then
        damaged(SESSION, 'connection', 'is no count')
    elseif newest and newest > CONNECTION then
        return {'stale'}
    end
    is_new = newest ~= CONNECTION
end

-- Signs of life. A worker is dead when it was silent for ALIVE seconds in which the server listened. The time in which a server stood
-- still, or heard nobody, says nothing about any worker: it counts as a quarter of ALIVE at most.

local SEEN = key('seen')      -- workers, by the seconds of listening at their last sign of life
local listened, born          -- those seconds by now; when this memory began

do
    local forgotten = false
    local found = try('ZMSCORE', SEEN, '@now', '@listened', '@born') or {}
    local at, before = number(found[1], 0, now + DAY), number(found[2], 0, now + DAY)
    born = number(found[3], 0, now + DAY)
    if at and before and born then
        listened = before + math.min(math.max(now - at, 0), ALIVE / 4)
    else
        if found[1] or found[2] or found[3] then
            damaged(SEEN, '', 'has no time, or one that cannot be')
            forgotten = true
        end
        listened, born = now, now
    end
    -- The first write of each script is one that a full server refuses: it does not refuse those that follow.
    try('ZADD', SEEN, now, '@now', listened, '@listened', born, '@born', listened, WORKER)
    if forgotten then
        redis.call('DEL', SEEN)
        redis.call('ZADD', SEEN, now, '@now', listened, '@listened', born, '@born', listened, WORKER)
    end
    try('EXPIRE', SEEN, MONTH)
    if is_new then
        try('HSET', SESSION, 'connection', whole(CONNECTION))
    end
    try('EXPIRE', SESSION, DAY)
end

-- Seconds of listening since a worker's last sign of life. One that is not known, since the server has forgotten it, counts as heard now.
local function silence(worker)
    local text = try('ZSCORE', SEEN, worker)
    local last = number(text, 0, listened)
    if not last then
        if text then
            damaged(SEEN, worker, 'has a time that cannot be')
        end
        try('ZADD', SEEN, listened, worker)
        last = listened
    end
    return listened - last
end

local function alive(worker)
    return silence(worker) < ALIVE
end

local function tell(news)
    redis.call('PUBLISH', key('news'), cjson.encode(news))
end

-- Clearances

local function texts(values)
    for name, value in pairs(values) do
        if type(name) ~= 'string' or type(value) ~= 'string' then
            return false
        end
    end
    return true
end

local function is_clearance(held)
    return type(held.id) == 'string' and type(held.host) == 'string' and type(held.cookies) == 'table' and texts(held.cookies)
        and (held.user_agent == nil or type(held.user_agent) == 'string')
        and (held.secure == nil or type(held.secure) == 'boolean')
        and type(held.solved_at) == 'number' and number(held.solved_at, 0, MOST)
        and (held.expires == nil or type(held.expires) == 'number' and number(held.expires, 0, MOST))
        and (held.fence == nil or type(held.fence) == 'number' and number(held.fence, 0, MOST))
end

-- The text of a clearance, and what it says; nil if there is none, or it was damaged, and then it is deleted.
local function clearance_in(site, field)
    local text = try('HGET', site, field)
    if not text then
        return nil
    end
    local held = decoded(text)
    if not held or not is_clearance(held) then
        damaged(site, field, 'is no clearance')
        redis.call('HDEL', site, field)
        return nil
    end
    return text, held
end

-- Reservations: a part of the limits, and the task that it is for.
-- A task is "new" until CapSolver has given it an id, then "open"; "settling" if its worker only asks what becomes of it; "left" if no
-- worker is at it; "over" if it has ended, and a worker that was taken for dead may not know.

local TEXTS = {'spider', 'site', 'family', 'type', 'mark', 'row', 'ledger', 'account', 'task', 'worker', 'run', 'limits'}
local STATES = {new = true, open = true, settling = true, left = true, over = true}

local function begins(text, start)
    return string.sub(text, 1, #start) == start
end

-- What is wrong with a task, or nil.
local function fault_of(task)
    for _, name in ipairs(TEXTS) do
        if type(task[name]) ~= 'string' then
            return name .. ' is no text'
        end
    end
    if not STATES[task.state] then
        return 'state is none that a task has'
    elseif type(task.nano) ~= 'number' or not number(task.nano, 0, MOST) then
        return 'nano is no count'
    elseif type(task.created) ~= 'number' or not number(task.created, 0, now + DAY) then
        return 'created is no time'
    elseif type(task.limits_seconds) ~= 'number' or not number(task.limits_seconds, 1, MONTH) then
        return 'limits_seconds is out of range'
    elseif not begins(task.ledger, key('ledger', '')) then
        return 'ledger is no key of a ledger'
    elseif task.limits ~= '' and not begins(task.limits, key('limits', '')) then
        return 'limits is no key of limits'
    end
end

local function task_of(id)
    local name = key('task', id)
    local text = try('GET', name)
    if not text then
        return nil
    end
    local task = decoded(text)
    local fault = 'is no JSON object'
    if task then
        fault = fault_of(task)
    end
    if fault then
        damaged(name, '', fault)
        redis.call('DEL', name)
        return nil
    end
    return task
end

-- As the worker describes it: for one that the server has forgotten.
local function described(task)
    task.limits = task.limits or ''
    task.limits_seconds = task.limits_seconds or 3600
    task.worker = task.worker or WORKER
    return task
end

local function keep_task(id, task)
    redis.call('SET', key('task', id), cjson.encode(task), 'EX', DAY)
end

local function own(id, task)
    task.worker = WORKER
    -- Whoever looks after the dead of that run must find this worker, also if this is the last that is heard of it.
    try('ZADD', key('present', task.run), now, WORKER)
    try('EXPIRE', key('present', task.run), MONTH)
    try('SADD', key('open', WORKER), id)
    try('EXPIRE', key('open', WORKER), DAY)
    if task.mark ~= '' then
        try('SADD', key('mark', task.mark), id)
        try('EXPIRE', key('mark', task.mark), DAY)
    end
end

-- Have this worker see to a task of another one, or of none.
local function take(id, task, state)
    try('SREM', key('open', task.worker), id)
    try('SREM', key('left', task.run), id)
    task.moved, task.state = true, state
    own(id, task)
    keep_task(id, task)
end

-- No worker is at the task any more: whoever needs the same may go on with it.
local function leave(id, task)
    try('SREM', key('open', task.worker), id)
    task.moved, task.state = true, 'left'
    keep_task(id, task)
    if not task.paid then
        try('SADD', key('left', task.run), id)
        try('EXPIRE', key('left', task.run), DAY)
    end
end

-- The limits that count now: their key, and the seconds for which they stay without being used.
local function limits_of(this, run, window)
    if window == 'hour' then
        return key('limits', run, 'hour', whole(math.floor(now / 3600))), 2 * 3600
    elseif window == 'day' then
        return key('limits', run, 'day', whole(math.floor(now / DAY))), 2 * DAY
    end
    return key('limits', this), 3600
end

-- Each change raises the version, so that a worker can tell which of two states is the later one.
local function count(task, sign)
    add(task.limits, 'u:s', sign)
    add(task.limits, 'u:n', sign * task.nano)
    if task.by_site then
        add(task.limits, 'site:' .. task.site, sign)
    end
    add(task.limits, 'version', 1)
end

local function under_way(id, task)
    try('HSET', task.limits .. ':open', id, cjson.encode({task.worker, task.nano, task.site}))
    try('EXPIRE', task.limits .. ':open', task.limits_seconds)
end

local function reserve(id, task)
    count(task, 1)
    under_way(id, task)
    try('EXPIRE', task.limits, task.limits_seconds)
end

-- The task has ended: its part is used up, or free again.
local function settle(id, task, charged)
    if task.limits == '' or try('HDEL', task.limits .. ':open', id) ~= 1 then
        return
    end
    if not charged and redis.call('EXISTS', task.limits) == 1 then
        count(task, -1)
    end
    if try('HDEL', task.limits, 'waiting') == 1 then
        tell({kind = 'limits', key = task.limits})
    end
end

-- Each entry raises the worker's count of them in the same ledger: it tells the worker whether the ledger still has them all.
local COUNTER = 'worker/' .. WORKER .. '/bookings'
local booked = {}

local function book(task, account, tasks, nano)
    local row = task.row .. account
    add(task.ledger, row .. '/tasks', tasks)
    add(task.ledger, row .. '/nano', nano)
    add(task.ledger, COUNTER, 1)
    try('EXPIRE', task.ledger, MONTH)
    table.insert(booked, {task.ledger, row, tasks, nano})
end

-- What was booked in a ledger just now: row, tasks and nano-dollars of each entry.
local function booked_in(ledger)
    local found = {}
    for _, one in ipairs(booked) do
        if one[1] == ledger then
            for place = 2, 4 do
                table.insert(found, one[place])
            end
        end
    end
    return found
end

local function forget(id, task)
    try('SREM', key('open', task.worker), id)
    try('SREM', key('mark', task.mark), id)
    try('SREM', key('left', task.run), id)
    if task.moved then
        task.state = 'over'
        keep_task(id, task)
    else
        redis.call('DEL', key('task', id))
    end
end

-- What became of a task is not known: it is booked as if it were paid. Its worker may be heard of again, and know better: so one that was
-- not created for all that is known stays among its worker's.
local function give_up(id, task, account)
    if not task.paid then
        book(task, account, 1, task.nano)
        task.booked = account
    end
    settle(id, task, true)
    task.moved = true
    forget(id, task)
    if account == 'possibly_paid' then
        try('SADD', key('open', task.worker), id)
        try('EXPIRE', key('open', task.worker), DAY)
    end
end

-- The worker was taken for dead, and knows better.
local function unbook(task, charged)
    book(task, task.booked, -1, -task.nano)
    task.booked = nil
    if not charged and task.limits ~= '' and redis.call('EXISTS', task.limits) == 1 then
        count(task, -1)
        if try('HDEL', task.limits, 'waiting') == 1 then
            tell({kind = 'limits', key = task.limits})
        end
    end
end

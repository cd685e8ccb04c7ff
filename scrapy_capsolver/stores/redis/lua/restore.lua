-- The server has forgotten limits (it was restarted, failed over, or had to make room): what this worker knows of them.
-- ARGV: prefix, worker, key, generation, run with instance, run, window, grace, totals as JSON {field: number}, own tasks under way as
-- JSON {id: task}
local worker, limits = ARGV[2], ARGV[3]
local totals, open = cjson.decode(ARGV[9]), cjson.decode(ARGV[10])
local current, seconds = limits_of(ARGV[5], ARGV[6], ARGV[7])
if limits ~= current then
    return ''  -- of an hour or a day that is over
end
local generation = redis.call('HGET', limits, 'generation')
local lost = not generation
if lost then
    generation = ARGV[4]
    redis.call('HSET', limits, 'generation', generation)
end
for field, total in pairs(totals) do
    if tonumber(redis.call('HGET', limits, field) or 0) < total then
        redis.call('HSET', limits, field, whole(total))
        lost = true
    end
end
if lost then  -- until the others have said what they know, nobody takes anything
    redis.call('HSET', limits, 'hold', tostring(now + tonumber(ARGV[8])))
end
for id, task in pairs(open) do
    local found = task_of(id)
    if not found then
        own(id, task, worker)
        keep_task(id, task)
    end
    if not found or (found.state ~= 'over' and found.worker == worker) then
        redis.call('HSET', limits .. ':open', id, cjson.encode({worker, task.nano, task.site}))
    end
end
redis.call('EXPIRE', limits, seconds)
redis.call('EXPIRE', limits .. ':open', seconds)
return generation

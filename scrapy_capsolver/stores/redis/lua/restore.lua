-- The server has forgotten limits (it was restarted, failed over, had to make room, or they were damaged), or took this worker for dead:
-- what it knows of the limits, and its tasks under way.
-- ARGV: key of the limits, generation for them if they have none, generation and version that are known, run with instance, run, window,
-- seconds for which they are then held, totals as JSON {field: number}, own tasks under way as JSON {id: task}
-- Answers the generation; "" if the limits are of an hour or a day that is over
local limits, generation, known, version = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local current, seconds = limits_of(ARGV[9], ARGV[10], ARGV[11])
local answer = ''
if limits == current and try('HLEN', limits) then
    local lost = false
    answer = try('HGET', limits, 'generation')
    if not answer then
        lost, answer = true, generation
        try('HSET', limits, 'generation', generation)
    end
    -- In the same generation, a state with a higher version has all that this worker has seen. Else the most counts.
    local reached = count_in(limits, 'version') or 0
    if answer ~= known or reached < version then
        for field, total in pairs(cjson.decode(ARGV[13])) do
            if (count_in(limits, field) or 0) < total then
                lost = true
                try('HSET', limits, field, whole(total))
            end
        end
        if reached < version then
            try('HSET', limits, 'version', whole(version))
        end
    end
    if lost then  -- until the others have said what they know, nobody takes anything
        try('HSET', limits, 'hold', tostring(now + tonumber(ARGV[12])))
    end
    try('EXPIRE', limits, seconds)
end
for id, task in pairs(cjson.decode(ARGV[14])) do
    task = described(task)
    task.created = math.min(task.created, now)
    local found = task_of(id)
    if not found then
        own(id, task)
        keep_task(id, task)
        found = task
    elseif found.state == 'left' and not found.paid then
        take(id, found, task.state)
    end
    if found.worker == WORKER and found.state ~= 'over' and found.limits ~= '' then
        under_way(id, found)
    end
end
return done(answer)

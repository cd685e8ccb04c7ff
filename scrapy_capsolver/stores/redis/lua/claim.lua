-- A clearance is wanted: it is there, or somebody is at it, or this worker may solve for it.
-- ARGV: prefix, flight, worker, site, field, id of the clearance that was refused
-- Gives {"held", clearance} | {"lease", fence} | {"wait", milliseconds after which to look again}
local flight, worker = key('flight', ARGV[2]), ARGV[3]
local text = redis.call('HGET', key('clearances', ARGV[4]), ARGV[5])
local held = text and decoded(text)
if held then
    if held.id ~= ARGV[6] and (not held.expires or held.expires > now) then
        return {'held', text}
    end
end
local holder = redis.call('GET', flight)
if holder then
    local owner, fence = string.match(holder, '^(.*)|(%d+)$')
    if owner == worker then
        return {'lease', fence}
    elseif alive(owner) then
        return {'wait', redis.call('PTTL', key('alive', owner))}
    end
end
-- By the clock as well, so that it grows even where the server has forgotten the last one.
local fence = whole(math.max(tonumber(redis.call('GET', key('fence')) or 0) + 1, math.floor(now * 1000)))
redis.call('SET', key('fence'), fence, 'EX', MONTH)
redis.call('SET', flight, worker .. '|' .. fence, 'EX', DAY)  -- it ends before, with its worker at the latest
return {'lease', fence}

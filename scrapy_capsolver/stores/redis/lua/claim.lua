-- A clearance is wanted: it is held, or another worker solves for it, or this worker may.
-- ARGV: flight, claim, site, field, id of the clearance that was refused
-- Answers {"held", clearance} | {"lease", fence} | {"wait", seconds after which to look again}
local flight, claim, site, field, refused = key('flight', ARGV[5]), ARGV[6], key('clearances', ARGV[7]), ARGV[8], ARGV[9]
local text, held = clearance_in(site, field)
if held and held.id ~= refused and (not held.expires or held.expires > now) then
    return done({'held', text})
end
local holder = try('GET', flight)
if holder then
    local owner, fence = string.match(holder, '^(%w+)|(%d+)|%w+$')
    if not owner then
        damaged(flight, '', 'is no lease')
    elseif owner == WORKER then
        redis.call('SET', flight, table.concat({WORKER, fence, claim}, '|'), 'EX', DAY)
        return done({'lease', fence})
    else
        local left = ALIVE - silence(owner)
        if left > 0 then
            return done({'wait', tostring(left)})
        end
    end
end
-- By the clock as well, so that it grows even if the server has forgotten the last one.
local last = try('GET', key('fence'))
local number_of_last = number(last, 0, MOST)
if last and not number_of_last then
    damaged(key('fence'), '', 'is no count')
end
local fence = whole(math.max((number_of_last or 0) + 1, math.floor(now * 1000)))
redis.call('SET', key('fence'), fence, 'EX', MONTH)
redis.call('SET', flight, table.concat({WORKER, fence, claim}, '|'), 'EX', DAY)  -- it ends before, with its worker at the latest
return done({'lease', fence})

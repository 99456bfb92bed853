-- suspend: a lane isn't tried until a time, unless it is resumed or the config becomes another one. Where a person asks (no config
-- tag) it isn't until a person resumes it, and what relays find out about the destination changes nothing.
-- KEYS: meta, suspended. ARGV: prefix, lane, wait in ms (0: resume), config tag or empty. Answers 1.
local lane, wait, by = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local lanes = key('lanes:' .. class_of(lane))
if by ~= '' and redis.call('HGET', KEYS[2], lane) == BY_HAND then return 1 end
if wait > 0 then
  write('HSET', KEYS[2], lane, by == '' and BY_HAND or digits(now + wait) .. ' ' .. by)
  write('ZADD', lanes, 'XX', digits(now + wait), lane)
else
  write('HDEL', KEYS[2], lane)
  local first = redis.call('ZRANGE', key('lane:' .. lane), 0, 0, 'WITHSCORES')
  if first[2] then write('ZADD', lanes, first[2], lane) end
end
run_plan()
return 1

-- suspend: a lane isn't tried until a time, unless it is resumed or the config becomes another one.
-- KEYS: meta, suspended. ARGV: prefix, lane, wait in ms (0: resume), config tag. Answers 1.
local lane, wait = ARGV[2], tonumber(ARGV[3])
local lanes = key('lanes:' .. class_of(lane))
if wait > 0 then
  write('HSET', KEYS[2], lane, digits(now + wait) .. ' ' .. ARGV[4])
  write('ZADD', lanes, 'XX', digits(now + wait), lane)
else
  write('HDEL', KEYS[2], lane)
  local first = redis.call('ZRANGE', key('lane:' .. lane), 0, 0, 'WITHSCORES')
  if first[2] then write('ZADD', lanes, first[2], lane) end
end
run_plan()
return 1

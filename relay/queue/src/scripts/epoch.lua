-- Notes which life of the server serves the partition. Returns for how many ms it has.
-- KEYS: server. ARGV: run_id.
-- The first life of a new queue has served it for ever: nobody knew another one, so nobody has to be waited for.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'run_id', 'since')
if known[1] ~= ARGV[1] then
  local since = known[1] and now or 0
  redis.call('HSET', KEYS[1], 'run_id', ARGV[1], 'since', string.format('%.0f', since))
  return string.format('%.0f', now - since)
end
local served = now - tonumber(known[2] or '0')
return string.format('%.0f', math.max(served, 0))

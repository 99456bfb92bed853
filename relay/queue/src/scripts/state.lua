-- Opens, drains or closes a partition. A partition with messages in it isn't closed. Returns how many there are.
-- KEYS: meta, totals. ARGV: Open, Draining or Closed.
local accepted = tonumber(redis.call('HGET', KEYS[1], 'accepted') or '0')
local ended = tonumber(redis.call('HGET', KEYS[2], 'ended') or '0')
local left = accepted - ended
if redis.call('HEXISTS', KEYS[1], 'uuid') == 0 then
  return redis.error_reply('NOQUEUE the partition is no queue')
end
if ARGV[1] ~= 'Closed' or left <= 0 then
  redis.call('HSET', KEYS[1], 'state', ARGV[1])
end
return string.format('%.0f', left)

-- register: takes a new incarnation in, and forgets those that ended a day ago.
-- KEYS: meta, pods. ARGV: prefix, INC, newest record format it reads. Answers 1, or 0 if it was there before. beat never creates.
local DAY = 86400000
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 0 end
local pods = redis.call('HGETALL', KEYS[2])
for at = 1, #pods, 2 do
  local ended = string.match(pods[at + 1], '^E (%d+)')
  if ended and now - tonumber(ended) > DAY then write('HDEL', KEYS[2], pods[at]) end
end
write('HSET', KEYS[2], ARGV[2], 'L 0 ' .. ARGV[3])
run_plan()
return 1

-- beat: says that an incarnation lives. KEYS: pods. ARGV: prefix, INC. Answers its new counter, or 0: it is unknown or fenced, which
-- is to say reaped. Never creates.
local value = redis.call('HGET', KEYS[1], ARGV[2])
local counter, format = string.match(value or '', '^L (%d+) (%d+)$')
if not counter then return 0 end
counter = tonumber(counter) + 1
redis.call('HSET', KEYS[1], ARGV[2], 'L ' .. string.format('%.0f', counter) .. ' ' .. format)
return counter

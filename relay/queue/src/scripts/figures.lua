-- What is in the partition, as a flat list of names and numbers. Reads only.
-- KEYS: meta, totals, held, pods, depth, suspended. ARGV: the prefix of claims:INC.
-- O(incarnations that are not ended yet).
local now = redis.call('TIME')
local answer = {
  'now', string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)),
  'accepted', redis.call('HGET', KEYS[1], 'accepted') or '0',
  'held', tostring(redis.call('ZCARD', KEYS[3])),
  'lanes', tostring(redis.call('ZCARD', KEYS[5])),
  'suspended', tostring(redis.call('HLEN', KEYS[6])),
}
local claimed = 0
local pods = redis.call('HGETALL', KEYS[4])
for i = 1, #pods, 2 do
  if string.sub(pods[i + 1], 1, 1) ~= 'E' then
    claimed = claimed + redis.call('HLEN', ARGV[1] .. pods[i])
  end
end
answer[#answer + 1] = 'claimed'
answer[#answer + 1] = tostring(claimed)
local totals = redis.call('HGETALL', KEYS[2])
for i = 1, #totals do
  answer[#answer + 1] = totals[i]
end
return answer

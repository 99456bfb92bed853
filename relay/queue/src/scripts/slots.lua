-- Says how many connection slots of a site an incarnation has in use, and takes more. Returns how many more it got, and how many are
-- taken in all. What it has in use is a fact, whatever the limit: told again, nothing is counted twice, and a lost reply is made good.
-- KEYS: the site's slots. ARGV: incarnation, slots in use, slots to take, the most there may be in all, then incarnations that are
-- dead: what they had is free.
-- O(incarnations with slots).
for i = 5, #ARGV do
  if ARGV[i] ~= ARGV[1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
local used, want, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local others = -tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
for _, taken in ipairs(redis.call('HVALS', KEYS[1])) do
  others = others + tonumber(taken)
end
local more = math.max(0, math.min(want, most - others - used))
if used + more > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', used + more))
  redis.call('PEXPIRE', KEYS[1], 86400000)
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return { string.format('%.0f', more), string.format('%.0f', others + used + more) }

-- Says how many connection slots of a site an incarnation has in use, and takes more. Returns how many more it got, and how many are
-- taken in all. What it has in use is a fact, whatever the limit: told again, nothing is counted twice, and a lost reply is made good.
-- KEYS: the site's slots, pods. ARGV: incarnation, slots in use, slots to take, the most there may be in all.
-- Where there aren't enough, what an incarnation had that doesn't live is free: also one that ended so long ago that nobody knows it.
-- O(incarnations with slots).
local used, want, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function is_live(incarnation)
  local value = redis.call('HGET', KEYS[2], incarnation)
  return value and string.sub(value, 1, 1) == 'L'
end

local holders, others = redis.call('HGETALL', KEYS[1]), 0
for at = 1, #holders, 2 do
  if holders[at] ~= ARGV[1] then others = others + tonumber(holders[at + 1]) end
end
if others + used + want > most then
  for at = 1, #holders, 2 do
    if holders[at] ~= ARGV[1] and not is_live(holders[at]) then
      others = others - tonumber(holders[at + 1])
      redis.call('HDEL', KEYS[1], holders[at])
    end
  end
end
local more = math.max(0, math.min(want, most - others - used))
if used + more > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', used + more))
  redis.call('PEXPIRE', KEYS[1], 86400000)
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return { string.format('%.0f', more), string.format('%.0f', others + used + more) }

-- Takes or gives back connection slots of a site. Returns how many were taken, and how many are taken in all.
-- KEYS: the site's slots. ARGV: incarnation, slots to take (negative: to give back), the most there may be in all, then
-- incarnations that are dead: what they had is free.
-- O(incarnations with slots).
for i = 4, #ARGV do
  if ARGV[i] ~= ARGV[1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
local want, most = tonumber(ARGV[2]), tonumber(ARGV[3])
local mine = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
local all = 0
for _, taken in ipairs(redis.call('HVALS', KEYS[1])) do
  all = all + tonumber(taken)
end
local taken
if want < 0 then
  taken = -math.min(-want, mine)
else
  taken = math.max(0, math.min(want, most - all))
end
if mine + taken > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', mine + taken))
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], 86400000)
return { string.format('%.0f', taken), string.format('%.0f', all + taken) }

-- Takes from a quota. Returns how many were granted.
-- KEYS: the quota. ARGV: the most of it, how many are wanted, seconds after which it is forgotten.
-- The key holds how many were granted so far.
local granted_before = tonumber(redis.call('GET', KEYS[1]) or '0')
local granted = math.max(0, math.min(tonumber(ARGV[2]), tonumber(ARGV[1]) - granted_before))
if granted > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', granted_before + granted), 'EX', ARGV[3])
end
return granted

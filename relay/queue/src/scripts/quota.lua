-- Takes one of a quota. Returns 1, or 0 if there is none left.
-- KEYS: the quota. ARGV: the most of it, seconds after which it is forgotten.
-- The key holds how many were granted so far.
local granted = tonumber(redis.call('GET', KEYS[1]) or '0')
if granted >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f', granted + 1), 'EX', ARGV[2])
return 1

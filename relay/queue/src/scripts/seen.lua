-- Keeps what another shard had when it was last seen, unless something younger is kept already.
-- KEYS: meta. ARGV: that shard's name, when (ms, by its clock), what (JSON).
local kept = redis.call('HGET', KEYS[1], 'seen:' .. ARGV[1])
local at = kept and tonumber(string.match(kept, '^(%d+) ')) or -1
if tonumber(ARGV[2]) > at then
  redis.call('HSET', KEYS[1], 'seen:' .. ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
end
return 1

-- Adds counters to hashes: those of a day's domains. A domain beyond the most of a day isn't taken, nor is a field that begins
-- with "d" where its domain has as many as it may.
-- KEYS: the day's set of domains, then a hash per domain. ARGV: life in ms, most domains, most fields, then per domain: its name, how
-- many counters, and for each its field and by how much it grows. Returns how many domains were taken.
-- O(counters).
local life, domains, fields = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local known = redis.call('SCARD', KEYS[1])
local taken, at = 0, 4
for n = 2, #KEYS do
  local domain, count = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  local is_known = redis.call('SISMEMBER', KEYS[1], domain) == 1
  if is_known or known < domains then
    if not is_known then
      redis.call('SADD', KEYS[1], domain)
      known = known + 1
    end
    local size = redis.call('HLEN', KEYS[n])
    for i = at, at + 2 * count - 1, 2 do
      local field = ARGV[i]
      local is_there = redis.call('HEXISTS', KEYS[n], field) == 1
      if is_there or size < fields or (string.sub(field, 1, 1) ~= 'd' and size < 2 * fields) then
        redis.call('HINCRBY', KEYS[n], field, ARGV[i + 1])
        size = is_there and size or size + 1
      end
    end
    redis.call('PEXPIRE', KEYS[n], life)
    taken = taken + 1
  end
  at = at + 2 * count
end
redis.call('PEXPIRE', KEYS[1], life)
return taken

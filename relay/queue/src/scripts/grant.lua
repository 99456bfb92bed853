-- Takes tokens from a rate limit (GCRA). Returns how many were granted and how many more there were; if none, after how many µs to ask
-- again.
-- KEYS: the limit. ARGV: µs per token, burst (tokens), tokens wanted, tokens of the burst that stay for who is more urgent.
-- The key holds the theoretical arrival time in µs. One ahead by more than the burst and a minute: the clock went back.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local per, burst, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local open = burst - tonumber(ARGV[4])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
if tat - now > burst * per + 60000000 then
  tat = now
end
local there = math.floor((now + open * per - tat) / per)
local granted = math.max(0, math.min(want, there))
if granted > 0 then
  tat = tat + granted * per
  redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', string.format('%.0f', (tat - now) / 1000 + 1000))
  return { string.format('%.0f', granted), string.format('%.0f', there - granted) }
end
return { '0', string.format('%.0f', math.max(tat + per - open * per - now, 1)) }

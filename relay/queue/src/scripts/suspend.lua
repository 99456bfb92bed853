-- suspend: a destination isn't tried until a time, unless it is resumed or the config becomes another one. Where a person asks (no
-- config tag) it isn't until a person resumes it, and what relays find out about it changes nothing. Its lanes are put off as claims find
-- them. Where a limit lets a lane wait, few are taken at a look for a while afterwards; that doesn't shorten what says that nobody
-- answers.
-- KEYS: meta, suspended. ARGV: prefix, destination (for a limit: lane), wait in ms (0: resume, if no limit is named), config tag or
-- empty, then for a limit its name and how many are taken at a look. Answers 1.
local lane, wait, by, limiter = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local lanes = key('lanes:' .. class_of(lane))
local before = by ~= '' and redis.call('HGET', KEYS[2], lane)
if before == BY_HAND then return 1 end
-- What held longer has put lanes off for longer.
if before and holds_until(before) > now + wait then wake(lane) end
if limiter then
  local till, whose, _, few = suspension(before or '')
  if whose == by and till > now + wait and not (few and wait > 0) then return 1 end
  write('HSET', KEYS[2], lane, digits(now + wait) .. ' ' .. by .. ' ' .. limiter .. ' ' .. ARGV[6])
  if wait > 0 then write('ZADD', lanes, 'XX', digits(now + wait), lane) end
elseif wait > 0 then
  write('HSET', KEYS[2], lane, by == '' and BY_HAND or digits(now + wait) .. ' ' .. by)
  write('ZADD', lanes, 'XX', digits(now + wait), lane)
else
  write('HDEL', KEYS[2], lane)
  wake(lane)
end
run_plan()
return 1

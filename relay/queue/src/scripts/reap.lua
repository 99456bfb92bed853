-- reap: fences an incarnation and moves a slice of its claims back to their lanes, due now.
-- KEYS: meta, pods, claims:INC. ARGV: prefix, INC, counter seen (or empty: it leaves by itself), slice.
-- Answers {"alive"} if its counter moved, else {"more"|"done", moved}. Anyone may go on with a half-done reap. Idempotent.
-- Crashes are counted per delivery, unless it leaves by itself; who killed two that tried it alone goes on hold.
-- Invariants: I2, I3.
local incarnation, seen, slice = ARGV[2], ARGV[3], tonumber(ARGV[4])
local value = redis.call('HGET', KEYS[2], incarnation)
if not value or string.sub(value, 1, 1) == 'E' then
  if redis.call('EXISTS', KEYS[3]) == 0 then return {'done', 0} end
elseif string.sub(value, 1, 1) == 'L' and seen ~= '' and string.match(value, '^L (%d+)') ~= seen then
  return {'alive'}
end
local has_crashed = seen ~= ''
if value and string.sub(value, 1, 1) == 'R' then has_crashed = string.sub(value, 3) ~= 'leaving' end

local moved, total = 0, redis.call('HLEN', KEYS[3])
local got = redis.call('HSCAN', KEYS[3], 0, 'COUNT', slice)[2]
if #got == 0 and total > 0 then got = redis.call('HGETALL', KEYS[3]) end
for at = 1, #got, 2 do
  if moved >= slice then break end
  local member = got[at]
  local d = find(member)
  if d and d.state == 'C' and d.holder == incarnation then
    local is_alone = string.find(d.place, ' S$')
    take_out(d)
    local crashes, alone = string.match(d.crashes or '0 0', '^(%d+) (%d+)$')
    crashes, alone = tonumber(crashes), tonumber(alone)
    if has_crashed then
      crashes, alone = crashes + 1, alone + (is_alone and 1 or 0)
      set(d.of, 'x' .. d.number, crashes .. ' ' .. alone)
    end
    -- Where nobody is left, all was delivered by one that had lost the claim: that ends, and waits for no person.
    if alone >= 2 and not d.wish and d.recipients ~= '' then
      hold(d, 'Poison')
      count('poisoned', 1)
    else
      put_back(d, now)
    end
  else
    write('HDEL', KEYS[3], member)
    count('orphans', 1)
  end
  moved = moved + 1
end
count('reaped', moved)
local is_done = moved >= total
if value then
  write('HSET', KEYS[2], incarnation, is_done and ('E ' .. digits(now)) or (has_crashed and 'R crashed' or 'R leaving'))
end
plan_messages(incarnation)
run_plan()
return {is_done and 'done' or 'more', moved}

-- admin: what a person wants of deliveries. Of claimed ones the wish is recorded, and applied when the attempt ends.
-- KEYS: meta. ARGV: prefix, wish (R retry now, H hold, L let go what is held, B bounce, X delete), reason, then `ID.n` for each
-- delivery or `ID` for all of a message. Answers {done, recorded, passed over}. Idempotent. Invariants: I2, I3, I6.
local wish, reason = ARGV[2], ARGV[3]
local done, recorded, passed = 0, 0, 0

local function record(d)
  local value = wish
  if wish == 'H' or wish == 'B' then value = wish .. ' ' .. reason end
  d.wish = value
  set(d.of, 'w' .. d.number, value)
end

local function grant(d)
  if not d then
    passed = passed + 1
  elseif d.state == 'C' then
    if wish == 'L' then
      passed = passed + 1
    else
      record(d)
      recorded = recorded + 1
    end
  elseif (wish == 'L' and d.state ~= 'H') or (wish == 'H' and d.state == 'H') or (wish == 'R' and d.state == 'H') then
    passed = passed + 1
  else
    take_out(d)
    if wish == 'L' then
      -- A person who lets a poisonous one go wants it tried as if nothing had been.
      d.wish = 'R'
      unset(d.of, 'x' .. d.number)
      set(d.of, 'f' .. d.number, '1')
    else
      record(d)
    end
    put_back(d, now)
    done = done + 1
  end
end

for at = 4, #ARGV do
  local id, number = string.match(ARGV[at], '^(.+)%.(%d+)$')
  if id then
    grant(find(ARGV[at]))
  else
    local of = message(ARGV[at])
    if not of then passed = passed + 1 end
    for each = 0, (of and of.next or 0) - 1 do
      local d = delivery(of, digits(each))
      if d then grant(d) end
    end
  end
end
plan_messages('')
run_plan()
return {done, recorded, passed}

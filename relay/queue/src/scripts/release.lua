-- release: gives claims back to their lanes without counting an attempt, or does what an admin wished meanwhile.
-- KEYS: meta, claims:INC. ARGV: prefix, incarnation, wait in ms, then `MEMBER NUMBER` for each. Answers how many went back.
-- What isn't claimed under that number is passed over. Idempotent. Invariants: I2, I3.
local incarnation, wait, released = ARGV[2], tonumber(ARGV[3]), 0
for at = 4, #ARGV do
  local member, number = string.match(ARGV[at], '^(%S+) (%d+)$')
  local d = find(member)
  if d and d.state == 'C' and d.holder == incarnation and d.claim == number then
    take_out(d)
    -- What has expired is away for its wait too: each claim would else find it first, and nothing behind it.
    put_back(d, now + wait, d.expiry <= now and now + wait or d.expiry)
    released = released + 1
  elseif not d and redis.call('HGET', KEYS[2], member) == number then
    write('HDEL', KEYS[2], member)
    count('orphans', 1)
  end
end
plan_messages(incarnation)
run_plan()
return released

-- abort: undoes an enqueue that nobody knows the answer of. Removes the deliveries that were never attempted, and leaves a tombstone,
-- so that a late enqueue can't come in behind it. Only the acceptor calls it, and only for a message that it has no answer for.
-- KEYS: m:ID, t:ID. ARGV: prefix, ID. Answers {removed, left}: what others have tried since stays. Idempotent.
-- Invariants: I1 (the client got no 250 and sends again), I2.
local id = ARGV[2]
local tomb = redis.call('GET', KEYS[2])
if tomb then return {0, 0} end
local of = message(id)
local removed = 0
if of then
  for number = 0, of.next - 1 do
    local d = delivery(of, digits(number))
    local is_untried = d and ((d.state ~= 'C' and d.claim == '0') or (d.state == 'C' and d.claim == '1' and d.holder == of.acceptor))
    if is_untried then
      take_out(d)
      forget(d)
      removed = removed + 1
    end
  end
  plan_messages(of.acceptor)
end
write('SET', KEYS[2], 'A', 'EX', 900)
count('aborted', removed > 0 and 1 or 0)
run_plan()
return {removed, of and of.left or 0}

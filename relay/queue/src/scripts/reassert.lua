-- reassert: an incarnation says what it tries, after the store came back as another life and may have lost its last writes. What
-- lies in its lane or on hold again, not claimed since by anybody, is taken back under its old number.
-- KEYS: meta, pods, claims:INC. ARGV: prefix, INC, then `MEMBER NUMBER` for each. Answers {"fenced"} | {"ok", lost members}.
-- Invariant: I3: what another has claimed since is lost.
local incarnation, lost = ARGV[2], {}
if not is_live(incarnation) then return {'fenced'} end
for at = 3, #ARGV do
  local member, number = string.match(ARGV[at], '^(%S+) (%d+)$')
  local d = find(member)
  if d and d.state ~= 'C' and tonumber(d.claim) < tonumber(number) then
    take_out(d)
    d.claim = number
    place(d, 'C', incarnation)
    write('HSET', KEYS[3], member, number)
  elseif not (d and d.state == 'C' and d.holder == incarnation and d.claim == number) then
    lost[#lost + 1] = member
  end
end
plan_messages(incarnation)
run_plan()
return {'ok', lost}

-- resume: lifts a slice of the suspensions that are over, or by another config than the one given; those by hand stay.
-- KEYS: meta, suspended. ARGV: prefix, config tag, cursor. Answers {next cursor, lifted}; cursor 0 is the end.
local page = redis.call('HSCAN', KEYS[2], ARGV[3], 'COUNT', 200)
local lifted = 0
for at = 1, #page[2], 2 do
  local lane = page[2][at]
  local value = page[2][at + 1]
  local _, by = suspension(value)
  if value ~= BY_HAND and (is_past(value) or by ~= ARGV[2]) then
    write('HDEL', KEYS[2], lane)
    wake(lane)
    lifted = lifted + 1
  end
end
run_plan()
return {page[1], lifted}

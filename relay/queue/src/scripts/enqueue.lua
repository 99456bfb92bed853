-- enqueue: takes a message in. The one script that adds mail: refused when the store is full (no allow-oom).
-- KEYS: meta, m:ID, t:ID, pods, claims:INC, then the chunks of the body, then every lane named. ARGV: prefix, ID, incarnation (or
-- empty), chunks, message record, config tag, recipients discarded, then per delivery: start (C claimed, L lane, H hold), lane,
-- expires in ms, recipients, addressees, and for L the wait in ms, for H the reason.
-- Answers {"ok"|"again", accepted, now, then 1 per delivery that INC has claimed, else 0} | {"aborted"} | {"nobody"} |
-- {"notopen", state}. Idempotent: a message that is there, or has ended since, is "again".
-- Invariants: I1, I2, I3. I8: the body's chunks, settings and tombstone are checked before the first write.
local id, incarnation, chunks = ARGV[2], ARGV[3], tonumber(ARGV[4])
local FIRST, WIDTH = 8, 6
local deliveries = (#ARGV - FIRST + 1) / WIDTH
local m = KEYS[2]

local meta = redis.call('HMGET', KEYS[1], 'state', 'uuid', 'accepted')
local tomb = redis.call('GET', KEYS[3])
if tomb == 'A' then return {'aborted'} end
if tomb or redis.call('EXISTS', m) == 1 then
  local answer = {'again', tonumber(meta[3] or 0), now}
  for number = 0, deliveries - 1 do
    local is_ours = not tomb and redis.call('HGET', m, 'p' .. number) == 'C 1 ' .. incarnation
    answer[#answer + 1] = is_ours and 1 or 0
  end
  -- A write, so that WAITAOF on this connection waits for the message too.
  redis.call('HINCRBY', key('totals'), 'again', 1)
  return answer
end
if meta[1] ~= 'Open' or not meta[2] then return {'notopen', meta[2] and meta[1] or ''} end
if chunks > 0 and redis.call('EXISTS', unpack(KEYS, 6, 5 + chunks)) ~= chunks then return {'nobody'} end

local discarded = tonumber(ARGV[7])
if discarded > 0 then count('discarded', discarded) end
if deliveries == 0 then
  if chunks > 0 then write('UNLINK', unpack(KEYS, 6, 5 + chunks)) end
  write('SET', KEYS[3], 'E', 'EX', 900)
  write('HINCRBY', KEYS[1], 'accepted', '1')
  count('ended', 1)
  run_plan()
  return {'ok', tonumber(meta[3] or 0) + 1, now}
end

local live = incarnation ~= '' and redis.call('HGET', KEYS[4], incarnation)
live = live and string.sub(live, 1, 1) == 'L'
-- Text where it is at hand: each number would have to be printed.
local size = deliveries == 1 and '1' or deliveries
local fields = {'m', ARGV[5], 'n', size, 'i', size, 'k', ARGV[4], 'a', incarnation}
local claims = {}
local answer = {'ok', tonumber(meta[3] or 0) + 1, now}
for number = 0, deliveries - 1 do
  local at = FIRST + number * WIDTH
  local start, lane, expiry = ARGV[at], ARGV[at + 1], now + tonumber(ARGV[at + 2])
  local member, wait, place = id .. '.' .. number, ARGV[at + 5], 'L 0'
  if start == 'C' then
    wait = '0'
    if live and suspended_until(lane, ARGV[6]) <= now then
      place = 'C 1 ' .. incarnation
      claims[#claims + 1] = member
      claims[#claims + 1] = '1'
    end
  elseif start == 'H' then
    place = 'H 0'
    enter_hold(member, expiry)
    fields[#fields + 1] = 'h' .. number
    fields[#fields + 1] = wait
  end
  if place == 'L 0' then enter_lane(member, lane, now + tonumber(wait), expiry) end
  answer[#answer + 1] = string.sub(place, 1, 1) == 'C' and 1 or 0
  local at_end = #fields
  fields[at_end + 1], fields[at_end + 2] = 'p' .. number, place
  fields[at_end + 3], fields[at_end + 4] = 'l' .. number, lane
  fields[at_end + 5], fields[at_end + 6] = 'e' .. number, digits(expiry)
  fields[at_end + 7], fields[at_end + 8] = 'r' .. number, ARGV[at + 3]
  fields[at_end + 9], fields[at_end + 10] = 'q' .. number, ARGV[at + 4]
end
write_all('HSET', m, fields)
for chunk = 6, 5 + chunks do write('PERSIST', KEYS[chunk]) end
write_all('HSET', KEYS[5], claims)
write('HINCRBY', KEYS[1], 'accepted', '1')
run_plan()
return answer

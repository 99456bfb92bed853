-- claim: gives an incarnation deliveries to try. Expired ones and wishes to bounce first, whatever is suspended or held; then due
-- lanes, classes by weight, a few of each destination, shared among its lanes, the lane looked at longest ago first. Sets when each lane is
-- looked at next.
-- KEYS: meta, pods, claims:INC, expiry, suspended, lanes:CLASS for each class. ARGV: prefix, INC, most, most per destination, 1 if one that
-- must be tried alone may be among them, config tag, longest wait in ms, how many lanes there is little room for, name and room of each,
-- then name and weight of each class in the order of KEYS; of a class without weight nothing is claimed that isn't ending.
-- Answers {"fenced"} | {"ok", now, next time something is due or "", claims}; a claim is {member, number, ending (E expired, B bounce,
-- or empty), alone, chunks, m, lane, expiry, recipients, addressees, history, report, crashes, wish, let go}.
-- Invariants: I3, I6. Refused to a fenced incarnation. O(log n) in the queue's size for each delivery that it returns.
local incarnation, most, per_destination, may_alone, tag = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1', ARGV[6]
-- Who is to be tried alone has an attempt of another before it, of some milliseconds as a rule. There may be a thousand of them: all that
-- two relays had in hand when they died.
local ALONE_FROM, ALONE_WAIT = 2, 50
if not is_live(incarnation) then return {'fenced'} end

-- The classes that have lanes due, and how many lanes of each destination are.
local classes, total_weight, due_lanes, rooms = {}, 0, {}, {}
local first_class = 9 + 2 * tonumber(ARGV[8])
for at = 9, first_class - 2, 2 do rooms[ARGV[at]] = tonumber(ARGV[at + 1]) end
for at = first_class, #ARGV, 2 do
  local weight = tonumber(ARGV[at + 1])
  local lanes = weight > 0 and redis.call('ZRANGEBYSCORE', KEYS[6 + (at - first_class) / 2], '-inf', digits(now), 'LIMIT', 0, most + 8) or {}
  if #lanes > 0 then
    classes[#classes + 1] = {lanes = lanes, weight = weight}
    total_weight = total_weight + weight
  end
  for _, lane in ipairs(lanes) do
    local destination = destination_of(lane)
    due_lanes[destination] = (due_lanes[destination] or 0) + 1
  end
end

local taken, claims, gone, next_looks, of_destination = {}, {}, {}, {}, {}

-- Lanes that have more are looked at again in the order in which they were looked at now, whatever their names are: so each has a time of
-- its own, between milliseconds. It lies in the past, for such a lane is due.
local turns = 0
local function next_turn()
  turns = turns + 1
  return time[1] * 1000 + time[2] / 1000 - 2 + turns / 2048
end

-- Claims one, if it may be tried now: true; or says until when it stays.
local function take(member)
  local id, number = string.match(member, '^(.+)%.(%d+)$')
  local got = id and redis.call('HMGET', key('m:' .. id), 'p' .. number, 'l' .. number, 'e' .. number, 'r' .. number,
    'q' .. number, 'd' .. number, 'o' .. number, 'x' .. number, 'w' .. number, 'm', 'k', 'f' .. number)
  if not got or not got[1] then return nil end
  local wish, ending = got[9] or '', ''
  if string.sub(wish, 1, 1) == 'B' then ending = 'B' elseif tonumber(got[3]) <= now then ending = 'E' end
  local is_alone = tonumber(string.match(got[8] or '0', '^%d+')) >= ALONE_FROM and ending == ''
  if is_alone and not may_alone then return now + ALONE_WAIT end
  if is_alone then may_alone = false end
  local state, claim = string.match(got[1], '^(%a) (%d+)')
  if state == 'C' then return nil end
  claim = digits(tonumber(claim) + 1)
  if state == 'L' then leave_lane(member, got[2]) else
    leave_hold(member)
    write('HDEL', key('m:' .. id), 'h' .. number)
  end
  write('HSET', key('m:' .. id), 'p' .. number, 'C ' .. claim .. ' ' .. incarnation .. (is_alone and ' S' or ''))
  claims[#claims + 1] = member
  claims[#claims + 1] = claim
  taken[#taken + 1] = {member, claim, ending, is_alone and 1 or 0, got[11], got[10], got[2], got[3], got[4], got[5], got[6] or '',
    got[7] or '', got[8] or '', wish, got[12] and 1 or 0}
  gone[member] = true
  return true
end

local function take_ending()
  local half = math.ceil(most / 2)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', digits(now), 'LIMIT', 0, half)) do
    if not take(member) then
      write('ZREM', KEYS[4], member)
      count('orphans', 1)
    end
  end
end

-- Takes from one lane and plans when it is looked at next. What there is room for in all is shared among the lanes of a destination; one
-- whose others have had the destination's part stays where it is, before them.
local function take_from(lane, left, room)
  local destination = destination_of(lane)
  local has = of_destination[destination] or 0
  if has >= per_destination then return 0 end
  local till, few, entries = suspended_until(lane, tag)
  if till > now then
    next_looks[lane] = till
    return 0
  elseif few and till + LIMITED_FOR > now then
    left = math.min(left, few)
  elseif entries then
    if entries[1] and is_past(entries[1], tag) then write('HDEL', KEYS[5], lane) end
    if entries[2] and is_past(entries[2], tag) then write('HDEL', KEYS[5], destination) end
  end
  local share = math.ceil(math.min(per_destination, room) / due_lanes[destination])
  local wanted = math.min(share, per_destination - has, left, rooms[lane] or left)
  local name, took = key('lane:' .. lane), 0
  local first = redis.call('ZRANGE', name, 0, wanted, 'WITHSCORES')
  local next_look, has_more = nil, #first / 2 > wanted
  for at = 1, #first, 2 do
    local member, due = first[at], tonumber(first[at + 1])
    if due > now then
      next_look, has_more = math.min(next_look or due, due), false
      break
    elseif not gone[member] then
      if took >= wanted then break end
      local answer = take(member)
      if answer == true then
        took = took + 1
      elseif answer then
        write('ZADD', name, 'XX', digits(answer), member)
        next_look = math.min(next_look or answer, answer)
      else
        write('ZREM', name, member)
        depth(lane, -1)
        count('orphans', 1)
      end
    end
  end
  -- Due, and behind the lanes that were looked at longer ago.
  if has_more then next_look = next_turn() end
  next_looks[lane] = next_look or false
  of_destination[destination] = has + took
  return took
end

local function take_class(class, room)
  local took = 0
  for _, lane in ipairs(class.lanes) do
    if took >= room then break end
    if next_looks[lane] == nil then took = took + take_from(lane, room - took, room) end
  end
end

-- Each class has its share; what one doesn't use, the others do. The first turn goes round by weight, so that a claim of one
-- starves nobody.
local function take_due()
  local turn, first = now % total_weight, 1
  while turn >= classes[first].weight do
    turn = turn - classes[first].weight
    first = first + 1
  end
  local room = most - #taken
  for round = 1, 2 do
    for step = 0, #classes - 1 do
      local class = classes[(first + step - 1) % #classes + 1]
      local left = most - #taken
      if left <= 0 then return end
      local share = round == 1 and math.max(1, math.floor(room * class.weight / total_weight)) or left
      take_class(class, math.min(share, left))
    end
  end
end

-- A due further off than the longest wait comes from a clock that has jumped since: it comes down to that, and so does a suspension,
-- unless a person asked for it.
local function clamp(lanes)
  local latest = now + tonumber(ARGV[7])
  for _, lane in ipairs(redis.call('ZREVRANGEBYSCORE', lanes, '+inf', '(' .. digits(latest), 'LIMIT', 0, 8)) do
    local name = key('lane:' .. lane)
    local far = redis.call('ZREVRANGEBYSCORE', name, '+inf', '(' .. digits(latest), 'LIMIT', 0, 65)
    for at = 1, math.min(#far, 64) do write('ZADD', name, 'XX', digits(latest), far[at]) end
    for _, entry in ipairs({lane, destination_of(lane)}) do
      local value = redis.call('HGET', KEYS[5], entry)
      if value and value ~= BY_HAND and holds_until(value) > latest then write('HDEL', KEYS[5], entry) end
    end
    if #far <= 64 then
      local first = redis.call('ZRANGE', name, 0, 0, 'WITHSCORES')
      next_looks[lane] = first[2] and math.min(tonumber(first[2]), latest) or false
    end
  end
end

clamp(KEYS[6])
clamp(KEYS[7])
clamp(KEYS[8])
take_ending()
if #taken < most and #classes > 0 then take_due() end
for lane, at in pairs(next_looks) do
  local lanes = key('lanes:' .. class_of(lane))
  if at then write('ZADD', lanes, string.format('%.4f', at), lane) else write('ZREM', lanes, lane) end
end
-- Nobody looks at a lane without mail, whose suspension would stay for good: some are looked at each time.
local some = redis.call('HRANDFIELD', KEYS[5], 4, 'WITHVALUES')
for at = 1, #some, 2 do
  if is_past(some[at + 1]) then write('HDEL', KEYS[5], some[at]) end
end
write_all('HSET', KEYS[3], claims)
run_plan()

local soonest
for _, index in ipairs({KEYS[4], KEYS[6], KEYS[7], KEYS[8]}) do
  local first = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')
  if first[2] then soonest = math.min(soonest or tonumber(first[2]), tonumber(first[2])) end
end
return {'ok', now, soonest and math.max(soonest, 0) or '', taken}

-- Shared: a plan of writes. A script reads and checks, planning as it goes; run_plan touches every key that it will write, so that a
-- slot on its way to another node or a read-only node refuses the script here, and only then writes. Nothing after that can fail.
-- ARGV[1] is the prefix of all keys; all share its hash tag.
local PREFIX = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- What stands in `suspended` for a lane that a person suspended: until that is lifted, the lane is looked at once an hour.
local BY_HAND, BY_HAND_LOOK = 'by hand', 3600000
-- For how long it is remembered that a limit let a lane wait: meanwhile few are taken at a look.
local LIMITED_FOR = 60000
-- How many flows a destination has (flow.rs): `LANE#0` to `LANE#63`, and the lane without one.
local FLOWS = 64
local writes, touched, counters, depths, looks = {}, {}, {}, {}, {}

-- Lua would print 14 digits of a number.
local function digits(number) return string.format('%.0f', number) end

local function key(name) return PREFIX .. name end

local function write(...)
  local command = {...}
  writes[#writes + 1] = command
  touched[command[2]] = true
end

local function count(name, by) counters[name] = (counters[name] or 0) + by end

local function class_of(lane) return string.match(lane, '^[^/]*') end

-- The lane without its flow: suspensions are written under it.
local function destination_of(lane) return string.match(lane, '^[^#]*') end

local function depth(lane, by)
  depths[lane] = (depths[lane] or 0) + by
  count('waiting:' .. class_of(lane), by)
end

-- What stands in `suspended`: until when, by which config and, where a limit lets the lane wait, its name and how many are taken at a
-- look from then on.
local function suspension(value)
  local till, by, limiter, few = string.match(value, '^(%d+) (%S*) ?(%S*) ?(%d*)$')
  return tonumber(till), by, limiter, tonumber(few)
end

-- Until when what stands in `suspended` holds; under another config than `tag` (if given) it counts for nothing. Then how many are
-- taken at a look where a limit let the lane wait.
local function holds_until(value, tag)
  if not value then return 0 end
  if value == BY_HAND then return now + BY_HAND_LOOK end
  local till, by, _, few = suspension(value)
  if not till or (tag and by ~= tag) then return 0 end
  return till, few
end

-- Until when a lane isn't tried: its destination may be suspended, and a limit may let it wait. Then how many are taken at a look where a
-- limit let it wait, and what stands for the lane and for its destination, if there is anything.
local function suspended_until(lane, tag)
  local destination = destination_of(lane)
  local values = redis.call('HMGET', key('suspended'), lane, destination)
  if not values[1] and not values[2] then return 0 end
  local till, few = holds_until(values[1], tag)
  if destination ~= lane then
    -- A limit there is the limit of the lane without a flow.
    local all, is_limit = holds_until(values[2], tag)
    if not is_limit and all > now and all > till then till, few = all, nil end
  end
  return till, few, values
end

-- Whether what stands there says nothing any more.
local function is_past(value, tag)
  local till, few = holds_until(value, tag)
  return till + (few and LIMITED_FOR or 0) <= now
end

-- The lane is looked at no later than this; while it is suspended, when that ends.
local function look(lane, due)
  local known = looks[lane]
  if known == nil or due < known then looks[lane] = math.max(due, (suspended_until(lane))) end
end

-- Has a lane looked at when its first is due; of a destination, all its lanes.
local function wake(lane)
  local names = {lane}
  if lane == destination_of(lane) then
    for flow = 0, FLOWS - 1 do names[#names + 1] = lane .. '#' .. flow end
  end
  local lanes = key('lanes:' .. class_of(lane))
  local looked = redis.call('ZMSCORE', lanes, unpack(names))
  for at = 1, #names do
    local first = (looked[at] or at == 1) and redis.call('ZRANGE', key('lane:' .. names[at]), 0, 0, 'WITHSCORES') or {}
    if first[2] then write('ZADD', lanes, first[2], names[at]) end
  end
end

local function enter_lane(member, lane, due, expiry)
  write('ZADD', key('lane:' .. lane), digits(due), member)
  write('ZADD', key('expiry'), digits(expiry), member)
  depth(lane, 1)
  look(lane, due)
end

local function leave_lane(member, lane)
  write('ZREM', key('lane:' .. lane), member)
  write('ZREM', key('expiry'), member)
  depth(lane, -1)
end

local function enter_hold(member, expiry)
  write('ZADD', key('held'), digits(now), member)
  write('ZADD', key('expiry'), digits(expiry), member)
end

local function leave_hold(member)
  write('ZREM', key('held'), member)
  write('ZREM', key('expiry'), member)
end

-- Writes one command over many values, in pieces that Lua's unpack can take.
local function write_all(command, name, values)
  for from = 1, #values, 4000 do write(command, name, unpack(values, from, math.min(from + 3999, #values))) end
end

local function run_plan()
  local has_less = false
  for lane, by in pairs(depths) do
    if by ~= 0 then write('ZINCRBY', key('depth'), by, lane) end
    has_less = has_less or by < 0
  end
  if has_less then write('ZREMRANGEBYSCORE', key('depth'), '-inf', 0) end
  for lane, due in pairs(looks) do
    write('ZADD', key('lanes:' .. class_of(lane)), 'LT', digits(due), lane)
  end
  for name, by in pairs(counters) do
    if by ~= 0 then write('HINCRBY', key('totals'), name, by) end
  end
  local all = {}
  for name in pairs(touched) do all[#all + 1] = name end
  for at = 1, #all, 1000 do redis.call('EXISTS', unpack(all, at, math.min(at + 999, #all))) end
  for at = 1, #writes do redis.call(unpack(writes[at])) end
end

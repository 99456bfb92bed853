-- Shared, behind plan.lua: messages and their deliveries. A delivery is in one place: `L NUMBER` in its lane, `H NUMBER` on hold,
-- `C NUMBER INC[ S]` claimed (S: tried alone). Fields: p place, l lane, e expiry, r recipients left, w wish, x crashes, h reason of
-- hold, f let go from hold, q addressees, d history, o report (written by the relay, never read here).
local messages = {}

-- The message as planned so far; false if there is none.
local function message(id)
  local known = messages[id]
  if known ~= nil then return known end
  local got = redis.call('HMGET', key('m:' .. id), 'n', 'i', 'k', 'a')
  if got[1] then
    known = {id = id, left = tonumber(got[1]), next = tonumber(got[2]), chunks = tonumber(got[3]), acceptor = got[4],
      deliveries = {}, set = {}, unset = {}, gone = {}}
  else
    known = false
  end
  messages[id] = known
  return known
end

-- One delivery of it, as planned so far; false if there is none.
local function delivery(of, number)
  local known = of.deliveries[number]
  if known ~= nil then return known end
  local got = redis.call('HMGET', key('m:' .. of.id), 'p' .. number, 'l' .. number, 'e' .. number, 'r' .. number, 'w' .. number,
    'x' .. number)
  if got[1] then
    known = {of = of, number = number, member = of.id .. '.' .. number, place = got[1], lane = got[2], expiry = tonumber(got[3]),
      recipients = got[4], wish = got[5], crashes = got[6]}
    known.state, known.claim, known.holder = string.match(got[1], '^(%a) (%d+) ?(%x*)')
  else
    known = false
  end
  of.deliveries[number] = known
  return known
end

local function find(member)
  local id, number = string.match(member, '^(.+)%.(%d+)$')
  local of = id and message(id)
  return of and delivery(of, number)
end

local function set(of, field, value)
  of.set[field] = value
  of.unset[field] = nil
end

local function unset(of, field)
  of.unset[field] = true
  of.set[field] = nil
end

local function place(d, state, holder)
  d.state, d.holder = state, holder
  set(d.of, 'p' .. d.number, state .. ' ' .. d.claim .. (holder and (' ' .. holder) or ''))
end

-- Takes a delivery out of wherever it is.
local function take_out(d)
  if d.state == 'L' then
    leave_lane(d.member, d.lane)
  elseif d.state == 'H' then
    leave_hold(d.member)
    unset(d.of, 'h' .. d.number)
  else
    write('HDEL', key('claims:' .. d.holder), d.member)
  end
end

-- The delivery, taken out already, has ended. Its fields go if the message stays.
local function forget(d)
  d.of.gone[#d.of.gone + 1] = d.number
  d.of.left = d.of.left - 1
  d.of.deliveries[d.number] = false
end

local function is_report(recipients) return string.find(recipients, '^%a') ~= nil end

local function recipients_in(list)
  local some, size = {}, 0
  for number in string.gmatch(list, '%d+') do
    if not some[number] then some[number] = true; size = size + 1 end
  end
  return some, size
end

local function hold(d, reason)
  enter_hold(d.member, d.expiry)
  place(d, 'H')
  set(d.of, 'h' .. d.number, reason)
end

-- Puts a delivery, taken out already, back into its lane; or does what an admin wished meanwhile. From `sought` on claims find it as
-- expired, whatever its due: from its expiry, if not given.
local function put_back(d, due, sought)
  local wish = d.wish and string.sub(d.wish, 1, 1)
  if wish == 'X' then
    local _, size = recipients_in(d.recipients)
    count('deleted', is_report(d.recipients) and 1 or size)
    forget(d)
    return 'Deleted'
  elseif d.recipients == '' then
    -- All of them were delivered to by one that had lost the claim.
    forget(d)
    return ''
  elseif wish == 'H' then
    hold(d, string.sub(d.wish, 3))
    unset(d.of, 'w' .. d.number)
    return 'Hold'
  end
  sought = sought or d.expiry
  if wish == 'R' or wish == 'B' then
    -- Found by the next claim, whatever is suspended: among the expired.
    due, sought = now, 0
    if wish == 'R' then unset(d.of, 'w' .. d.number) end
  end
  enter_lane(d.member, d.lane, due, sought)
  place(d, 'L')
  return 'Defer'
end

local FIELDS = {'p', 'l', 'e', 'r', 'q', 'd', 'o', 'w', 'x', 'h', 'f'}

-- Plans what the messages have become. A message whose last delivery ended goes with its body; if not its acceptor ended it, a
-- tombstone tells the acceptor, should it ask again.
local function plan_messages(by)
  local ended, all = 0, {}
  for id, of in pairs(messages) do
    if of and of.left <= 0 then
      ended = ended + 1
      all[#all + 1] = key('m:' .. id)
      for chunk = 0, of.chunks - 1 do all[#all + 1] = key('b:' .. id .. (chunk > 0 and (':' .. chunk) or '')) end
      if of.acceptor ~= by then write('SET', key('t:' .. id), 'E', 'EX', 900) end
    elseif of then
      for _, number in ipairs(of.gone) do
        for _, field in ipairs(FIELDS) do unset(of, field .. number) end
      end
      local sets, unsets = {}, {}
      for field, value in pairs(of.set) do sets[#sets + 1] = field; sets[#sets + 1] = value end
      for field in pairs(of.unset) do unsets[#unsets + 1] = field end
      if #sets + #unsets > 0 then
        sets[#sets + 1] = 'n'; sets[#sets + 1] = of.left
        sets[#sets + 1] = 'i'; sets[#sets + 1] = of.next
        write_all('HSET', key('m:' .. id), sets)
        write_all('HDEL', key('m:' .. id), unsets)
      end
    end
  end
  count('ended', ended)
  for at = 1, #all, 4000 do write('UNLINK', unpack(all, at, math.min(at + 3999, #all))) end
  for at = 1, #all do touched[all[at]] = true end
end

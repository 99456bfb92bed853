-- settle: ends the attempts of a batch. Facts (who was delivered to) count wherever the delivery is now; scheduling (defer, hold,
-- split, bounce, notices of a delay) needs the claim with its number. Reports enter with the end of the recipients they tell of.
-- KEYS: meta, claims:INC (or meta, for facts alone). ARGV: prefix, INC (or empty), entries of history kept, then a packed item each:
-- {member, number (or empty), delivered, bounced, discarded, what (D defer, H hold, S split), argument, history record,
-- reports {{kind, lane, expires in ms, about, report, addressees}}, event, deferred, 1 if a report was tried}. Split's argument: {{lane, wait in ms, recipients,
-- addressees}}. Answers 1 (applied) or 0 (claim lost) for each. Told twice, the second is 0 and changes nothing.
-- Invariants: I2, I4, I5, I8 (allow-oom: settling frees memory).
local incarnation, kept = ARGV[2], ARGV[3]
local items, members, answers, events, settled = {}, {}, {}, {}, {}
for at = 4, #ARGV do
  local item = cmsgpack.unpack(ARGV[at])
  items[#items + 1] = item
  members[#members + 1] = item[1]
end
local numbers = incarnation ~= '' and redis.call('HMGET', KEYS[2], unpack(members)) or {}

-- Takes the recipients of a list out of those left; returns the ones that were there, and how many.
local function strike(left, list)
  local struck, size = {}, 0
  if list == '' then return struck, size end
  for number in string.gmatch(list, '%d+') do
    if left[number] then
      left[number] = nil
      struck[#struck + 1] = number
      size = size + 1
    end
  end
  return struck, size
end

local function listed(left, order)
  local all = {}
  for number in string.gmatch(order, '%d+') do
    if left[number] then all[#all + 1] = number end
  end
  return table.concat(all, ',')
end

local function add(of, lane, expiry, recipients, due, fields)
  local number = digits(of.next)
  of.next = of.next + 1
  of.left = of.left + 1
  local d = {of = of, number = number, member = of.id .. '.' .. number, lane = lane, expiry = expiry, recipients = recipients,
    claim = '0'}
  of.deliveries[number] = d
  set(of, 'l' .. number, lane)
  set(of, 'e' .. number, digits(expiry))
  set(of, 'r' .. number, recipients)
  for field, value in pairs(fields) do set(of, field .. number, value) end
  enter_lane(d.member, lane, due, expiry)
  place(d, 'L')
  return d
end

local function add_reports(of, reports, ended)
  for _, report in ipairs(reports) do
    local about = ended[report[1]] and listed(ended[report[1]], report[4]) or ''
    if about ~= '' then
      add(of, report[2], now + tonumber(report[3]), report[1] .. about, now, {o = report[5], q = report[6]})
      count('reports:' .. report[1], 1)
    end
  end
end

local function as_set(list)
  local some = {}
  for _, number in ipairs(list) do some[number] = true end
  return some
end

-- What is left of a delivery, taken out already, goes where the outcome says.
local function reschedule(d, item, left)
  local what, argument = item[6], item[7]
  set(d.of, 'd' .. d.number, item[8])
  unset(d.of, 'x' .. d.number)
  local wish = d.wish and string.sub(d.wish, 1, 1)
  if what == 'H' and (not wish or wish == 'R') then
    hold(d, argument)
    return 'Hold'
  elseif what == 'S' and (not wish or wish == 'R') then
    for _, part in ipairs(argument) do
      local recipients = is_report(d.recipients) and d.recipients or listed(left, part[3])
      if recipients ~= '' then
        local due = wish and now or now + tonumber(part[2])
        local report = redis.call('HGET', key('m:' .. d.of.id), 'o' .. d.number)
        add(d.of, part[1], d.expiry, recipients, due, {q = part[4], d = item[8], o = report or nil})
      end
    end
    forget(d)
    return 'Split'
  end
  return put_back(d, now + (what == 'D' and tonumber(argument) or 0))
end

-- The claim holds: everything of the item counts.
local function apply(d, item)
  local of, is_about_sender = d.of, is_report(d.recipients)
  local left, size = {['0'] = true}, 1
  if not is_about_sender then left, size = recipients_in(d.recipients) end
  local delivered, delivered_size = strike(left, item[3])
  local bounced, bounced_size = strike(left, item[4])
  local _, discarded_size = strike(left, item[5])
  count('delivered', delivered_size)
  count('bounced', bounced_size)
  count('discarded', discarded_size)
  size = size - delivered_size - bounced_size - discarded_size
  settled[#settled + 1] = d.member
  local rest = ''
  if size <= 0 then
    forget(d)
  else
    count('deferred', tonumber(item[11]))
    if not is_about_sender then
      d.recipients = listed(left, d.recipients)
      set(of, 'r' .. d.number, d.recipients)
    end
    rest = reschedule(d, item, left)
  end
  if not is_about_sender and #item[9] > 0 then
    add_reports(of, item[9], {B = as_set(bounced), S = as_set(delivered), W = rest ~= 'Deleted' and left or {}})
  end
  return rest
end

-- Nobody is left in a delivery that the teller has no claim of: out of its lane or hold. If another incarnation tries it, that one
-- finds nothing left when it settles.
local function end_if_empty(d, left)
  if left == '' and d.state ~= 'C' then
    take_out(d)
    forget(d)
  else
    d.recipients = left
    set(d.of, 'r' .. d.number, left)
  end
end

-- The claim is lost: only who was delivered to counts, in whichever delivery they are now. A report's one recipient is the sender:
-- once it has ended (this may be told twice), its number 0 means nobody else.
local function tell(of, number, item)
  if item[3] == '' then return end
  local own = delivery(of, number)
  if not own and tonumber(item[12]) == 1 then return end
  local candidates = own and {number} or {}
  if not own then
    for other = 0, of.next - 1 do candidates[#candidates + 1] = digits(other) end
  end
  for _, candidate in ipairs(candidates) do
    local d = delivery(of, candidate)
    if d and own and is_report(d.recipients) then
      if d.state ~= 'C' then
        take_out(d)
        forget(d)
        count('delivered', 1)
      end
    elseif d and not is_report(d.recipients) then
      local left = recipients_in(d.recipients)
      local struck, size = strike(left, item[3])
      if size > 0 then
        count('delivered', size)
        end_if_empty(d, listed(left, d.recipients))
        add_reports(of, item[9], {S = as_set(struck)})
      end
    end
  end
end

for at, item in ipairs(items) do
  local id, number = string.match(item[1], '^(.+)%.(%d+)$')
  local of = message(id)
  local d = of and delivery(of, number)
  local has_claim = d and item[2] ~= '' and numbers[at] == item[2] and d.state == 'C' and d.holder == incarnation and d.claim == item[2]
  local rest = 'ClaimLost'
  if has_claim then
    rest = apply(d, item)
  elseif of then
    tell(of, number, item)
  end
  answers[at] = has_claim and 1 or 0
  if item[10] ~= '' then
    events[#events + 1] = item[1]
    events[#events + 1] = rest .. ' ' .. item[10]
  end
end
plan_messages(incarnation)
write_all('HDEL', KEYS[2], settled)
if #events > 0 then write('XADD', key('history'), 'MAXLEN', '~', kept, '*', unpack(events)) end
run_plan()
return answers

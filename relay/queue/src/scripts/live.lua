-- Shared, behind plan.lua: whether an incarnation may claim.
local function is_live(incarnation)
  local value = incarnation ~= '' and redis.call('HGET', key('pods'), incarnation)
  return value and string.sub(value, 1, 1) == 'L'
end

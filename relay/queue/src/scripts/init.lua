-- Makes an empty partition a queue, or says that a store replaces the one that was known. Returns the UUID that it has now.
-- KEYS: meta. ARGV: a new UUID, the MailRelay's UID or '', format, the UUIDs that it replaces (a space between two) or ''.
-- Called again it changes nothing more.
local uuid = redis.call('HGET', KEYS[1], 'uuid')
if not uuid then
  uuid = ARGV[1]
  redis.call('HSET', KEYS[1], 'uuid', uuid, 'format', ARGV[3], 'state', 'Open')
  redis.call('HSETNX', KEYS[1], 'accepted', '0')
  if ARGV[2] ~= '' then
    redis.call('HSET', KEYS[1], 'relay', ARGV[2])
  end
end
if ARGV[4] ~= '' and ARGV[4] ~= uuid then
  redis.call('HSET', KEYS[1], 'replaces', ARGV[4])
end
return uuid

-- Makes the caller the owner of a partition; whoever was it before is fenced from now on.
-- KEYS: 1 meta
-- ARGV: 1 owner token, 2 fingerprint of the definition, 3 first offset of the log (taken where there is no state)
-- Returns: {'ok', field, value, ...} = the whole meta hash, or {'definition'} when the state belongs to another definition
--          (nothing is changed then).
local definition = redis.call('HGET', KEYS[1], 'definition')
if definition and definition ~= ARGV[2] then
  return { 'definition' }
end
if not definition then
  redis.call('HSET', KEYS[1], 'definition', ARGV[2], 'offset', ARGV[3], 'base', ARGV[3])
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
local result = redis.call('HGETALL', KEYS[1])
table.insert(result, 1, 'ok')
return result

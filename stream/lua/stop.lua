-- Leaves behind why the owner of a partition stopped, until somebody acquires it. Nothing is counted by it.
-- KEYS: 1 meta
-- ARGV: 1 owner token ('' where the caller never came so far), 2 code of the failure
-- Returns: 1, or 0 where another one owns the partition (nothing is written then).
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'stopped', ARGV[2])
return 1

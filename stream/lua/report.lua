-- Tells readers how far the owner of a partition is behind the log. Nothing is counted by it.
-- KEYS: 1 meta
-- ARGV: 1 owner token, 2 lag (records), 3 idle since (wall clock, ms) or '', 4 seen at (wall clock, ms)
-- Returns: 1, or 0 where the caller is not the owner any more (nothing is written then).
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'lag', ARGV[2], 'idleSince', ARGV[3], 'seenAt', ARGV[4])
return 1

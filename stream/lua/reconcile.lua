-- Notes up to where a reconciliation found the panes of a partition exact. Nothing is counted by it.
-- KEYS: 1 meta
-- ARGV: 1 largest event time (ms) of the records that were compared
-- Returns: 1, or 0 where the partition has no state any more, or a later reconciliation was faster.
if redis.call('HEXISTS', KEYS[1], 'definition') == 0 then return 0 end
if tonumber(redis.call('HGET', KEYS[1], 'reconciledUpTo') or '-inf') >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'reconciledUpTo', ARGV[1])
return 1

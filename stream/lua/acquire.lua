-- Makes the caller the owner of a partition; whoever was it before is fenced from now on.
-- KEYS: 1 meta, 2 pane index, 3 rules
-- ARGV: 1 owner token, 2 fingerprint of the definition, 3 first offset of the log (taken where there is no state),
--       4 prefix of the pane keys, 5 prefix of the sketch keys, 6 Kafka's id of the topic, or '' where it has none,
--       7 the rules of the definition as text, 8 fingerprint of an earlier definition whose state may go on, or ''
-- Returns: {'ok', field, value, ...} = the whole meta hash, or {'definition', fingerprint, rules} when the state belongs to
--          another definition ('' where it does not say its rules), or {'topic', id} when it was counted from a topic with another id (nothing is changed then).
-- Pane and sketch keys are built from the index; they share the slot of KEYS by their hash tag.
local definition = redis.call('HGET', KEYS[1], 'definition')
if definition and definition ~= ARGV[2] and definition ~= ARGV[8] then
  return { 'definition', definition, redis.call('GET', KEYS[3]) or '' }
end
local topic = redis.call('HGET', KEYS[1], 'topicId')
if definition and topic and ARGV[6] ~= '' and topic ~= ARGV[6] then
  return { 'topic', topic }
end
if not definition then
  -- Panes without the offset that they were counted up to are worthless: counting on top of them would double them.
  for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    local pane = ARGV[4] .. member
    if redis.call('TYPE', pane)['ok'] == 'hash' then
      for _, field in ipairs(redis.call('HKEYS', pane)) do
        if string.sub(field, 1, 9) == 'distinct:' then redis.call('UNLINK', ARGV[5] .. member .. '|' .. field) end
      end
    end
    redis.call('UNLINK', pane)
  end
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'offset', ARGV[3], 'base', ARGV[3])
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'definition', ARGV[2])
redis.call('SET', KEYS[3], ARGV[7])
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'topicId', ARGV[6]) end
redis.call('HDEL', KEYS[1], 'stopped')
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
local result = redis.call('HGETALL', KEYS[1])
table.insert(result, 1, 'ok')
return result

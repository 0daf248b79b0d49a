-- Reads the state of one partition at one moment: its meta hash, and the windows that may still change.
-- KEYS: 1 meta, 2 window index
-- ARGV: 1 outOfOrder + allowedLateness in ms, 2 prefix of the window keys, 3 '1' to read the open windows, too
-- Returns: {meta as a flat list, {member of a closed window, ...}, {member, {field, value, ...}} of each open window ...}
-- Window keys are built from the index; they share the slot of KEYS by their hash tag.
local meta = redis.call('HGETALL', KEYS[1])
local max = tonumber(redis.call('HGET', KEYS[1], 'maxEventTime') or '')
local closed, open = {}, {}
-- A window is closed once its end is at or below the watermark minus the allowed lateness.
if max then
  closed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', max - tonumber(ARGV[1])))
  if ARGV[3] == '1' then
    open = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', max - tonumber(ARGV[1])), '+inf')
  end
end
local result = { meta, closed }
for _, member in ipairs(open) do
  result[#result + 1] = { member, redis.call('HGETALL', ARGV[2] .. member) }
end
return result

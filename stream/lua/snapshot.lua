-- Reads the state of one partition at one moment: its meta hash, and the panes that may still change.
-- KEYS: 1 meta, 2 pane index
-- ARGV: 1 outOfOrder + allowedLateness in ms, 2 prefix of the pane keys, 3 prefix of the sketch keys,
--       4 '1' to read the open panes, too
-- Returns: {meta as a flat list, {member of a closed pane, ...},
--           {member, {field, value, ...}, {field, sketch, ...}} of each open pane ...};
--           a sketch is its string, or the flat list of its hash
-- Pane and sketch keys are built from the index; they share the slot of KEYS by their hash tag.
local meta = redis.call('HGETALL', KEYS[1])
local max = tonumber(redis.call('HGET', KEYS[1], 'maxEventTime') or '')
local closed, open = {}, {}
-- A pane is closed once its end is at or below the watermark minus the allowed lateness.
if max then
  local closed_up_to = string.format('%.0f', max - tonumber(ARGV[1]))
  closed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', closed_up_to)
  if ARGV[4] == '1' then open = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. closed_up_to, '+inf') end
end
local result = { meta, closed }
for _, member in ipairs(open) do
  local cells, sketches = redis.call('HGETALL', ARGV[2] .. member), {}
  for i = 1, #cells, 2 do
    if string.sub(cells[i], 1, 9) == 'distinct:' then
      local key = ARGV[3] .. member .. '|' .. cells[i]
      local dense = redis.call('TYPE', key)['ok'] == 'string'
      sketches[#sketches + 1] = cells[i]
      sketches[#sketches + 1] = dense and redis.call('GET', key) or redis.call('HGETALL', key)
    end
  end
  result[#result + 1] = { member, cells, sketches }
end
return result

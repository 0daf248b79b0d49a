-- Moves windows, counters and offset of one partition together, or not at all.
-- KEYS: 1 meta, 2 window index, 3... one hash a window
-- ARGV: 1 owner token, 2 expected offset, 3 next offset, 4 max event time or '', 5 log time,
--       6 number of counters, then (name, addition) each,
--       then for each window: index member, end of the window (ms), number of operations, then (kind, field, value) each
-- Returns: {'ok'} | {'fenced'} | {'offset', actual} | {'overflow', key, field} | {'type', key, field}
-- A script is not rolled back when it errs: everything that could fail is checked before the first write (step 3).
-- Numbers: additions below 2^53 are exact in Lua's doubles; larger ones are left to HINCRBY, which is exact to 2^63.
local exact, limit = 9007199254740991, 9223372036854770000

-- 1. The caller owns the partition and continues where the state ends.
local meta = redis.call('HMGET', KEYS[1], 'owner', 'offset')
if meta[1] ~= ARGV[1] then return { 'fenced' } end
if meta[2] ~= ARGV[2] then return { 'offset', meta[2] } end

-- 2. Read what is there, compute what shall be.
-- An integer as HINCRBY understands it (64 bits, no leading zeros), or nil.
local function integer(text)
  local number = (text == '0' or string.match(text, '^-?[1-9]%d*$')) and tonumber(text)
  return number and math.abs(number) <= limit and number or nil
end
local index = redis.call('TYPE', KEYS[2])['ok']
if index ~= 'none' and index ~= 'zset' then return { 'type', KEYS[2], '' } end
for i = 7, 6 + 2 * tonumber(ARGV[6]), 2 do
  local text = redis.call('HGET', KEYS[1], ARGV[i])
  local known = text and integer(text)
  if text and not known then return { 'type', KEYS[1], ARGV[i] } end
  if (known or 0) + tonumber(ARGV[i + 1]) > limit then return { 'overflow', KEYS[1], ARGV[i] } end
end
local at = 7 + 2 * tonumber(ARGV[6])
local plans = {}
for k = 3, #KEYS do
  local key = KEYS[k]
  local kind = redis.call('TYPE', key)['ok']
  if kind ~= 'none' and kind ~= 'hash' then return { 'type', key, '' } end
  local count = tonumber(ARGV[at + 2])
  local plan = { member = ARGV[at], score = ARGV[at + 1], set = {}, add = {} }
  at = at + 3
  for first = 0, count - 1, 1000 do
    local last = math.min(first + 999, count - 1)
    local fields = {}
    for i = first, last do fields[#fields + 1] = ARGV[at + 3 * i + 1] end
    local before = redis.call('HMGET', key, unpack(fields))
    for i = first, last do
      local field, text = fields[i - first + 1], before[i - first + 1]
      local operation, value = ARGV[at + 3 * i], tonumber(ARGV[at + 3 * i + 2])
      local known = text and integer(text)
      if text and not known then return { 'type', key, field } end
      local result, isExact = value, true
      if operation == 'add' then
        result = (known or 0) + value
        if result > limit or result < -limit then return { 'overflow', key, field } end
        -- What is there may itself be beyond the doubles, and the result below: exact only where all three are within.
        isExact = math.abs(result) <= exact and math.abs(value) <= exact and math.abs(known or 0) <= exact
      elseif known and operation == 'min' then
        result = math.min(known, value)
      elseif known then
        result = math.max(known, value)
      end
      local writes = isExact and plan.set or plan.add
      writes[#writes + 1] = field
      writes[#writes + 1] = isExact and string.format('%.0f', result) or ARGV[at + 3 * i + 2]
    end
  end
  at = at + 3 * count
  plans[k] = plan
end

-- 3. Write; nothing below can fail.
for k = 3, #KEYS do
  local plan = plans[k]
  for first = 1, #plan.set, 1000 do
    redis.call('HSET', KEYS[k], unpack(plan.set, first, math.min(first + 999, #plan.set)))
  end
  for i = 1, #plan.add, 2 do redis.call('HINCRBY', KEYS[k], plan.add[i], plan.add[i + 1]) end
  redis.call('ZADD', KEYS[2], plan.score, plan.member)
end
for i = 7, 6 + 2 * tonumber(ARGV[6]), 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'maxEventTime', ARGV[4]) end
redis.call('HSET', KEYS[1], 'offset', ARGV[3], 'logTime', ARGV[5])
return { 'ok' }

-- Moves panes, counters and offset of one partition together, or not at all.
-- KEYS: 1 meta, 2 pane index, 3... one hash a pane, then every sketch key: a Redis Cluster must know all keys of a script, or
--       one that runs while their slot moves to another node takes those that are still on the old one for missing
-- ARGV: 1 owner token, 2 expected offset, 3 next offset, 4 max event time or '', 5 log time, 6 prefix of the sketch keys,
--       7 number of panes, 8 number of counters, then (name, addition) each,
--       then for each pane: index member, end (ms), number of operations, then (kind, field, value) each
-- Returns: {'ok'} | {'fenced'} | {'offset', actual} | {'overflow', key, field} | {'type', key, field}
-- A script is not rolled back when it errs: everything that could fail is checked before the first write (step 3).
-- Numbers: additions below 2^53 are exact in Lua's doubles; larger ones are left to HINCRBY, which is exact to 2^63.
-- Sketch keys are built from members and fields; they share the slot of KEYS by their hash tag.
local exact, limit = 9007199254740991, 9223372036854770000
-- A sketch with more registers than this becomes a string of one byte a register.
local registers, sparse_max = 16384, 128

-- 1. The caller owns the partition and continues where the state ends.
local meta = redis.call('HMGET', KEYS[1], 'owner', 'offset')
if meta[1] ~= ARGV[1] then return { 'fenced' } end
if meta[2] ~= ARGV[2] then return { 'offset', meta[2] } end

-- 2. Read what is there, compute what shall be.
-- The number that a text stands for, or nil. One beyond the doubles must be written as HINCRBY reads it: 64 bits, no zeros ahead.
local function integer(text)
  local number = tonumber(text)
  if not number or string.find(text, '[^%-%d]') then return nil end
  if number >= -exact and number <= exact then return number end
  return string.find(text, '^-?[1-9]') and number >= -limit and number <= limit and number or nil
end

-- Whether an integer is exact in Lua's numbers.
local function is_double(number)
  return number >= -exact and number <= exact
end

-- The merge of two states of a register: mergeRegister of domain/distinct.ts.
local function merge_register(a, b)
  local high, low = math.max(a, b), math.min(a, b)
  if low == 0 then return high end
  local behind = bit.rshift(high, 2) - bit.rshift(low, 2)
  if behind == 0 then return bit.bor(high, low) end
  if behind == 1 then return bit.bor(high, 2, bit.band(bit.rshift(low, 1), 1)) end
  return behind == 2 and bit.bor(high, 1) or high
end

-- What a sketch needs: {key, dense = bool, set = {register, state, ...}}, or nil where its key holds something else.
local function plan_sketch(key, marks)
  local kind = redis.call('TYPE', key)['ok']
  local plan = { key = key, dense = kind == 'string', set = {} }
  local before = {}
  if kind == 'string' then
    local bytes = redis.call('GET', key)
    if #bytes ~= registers then return nil end
    for i = 1, #marks, 2 do before[i] = string.byte(bytes, marks[i] + 1) end
  elseif kind == 'hash' then
    for first = 1, #marks, 2000 do
      local fields = {}
      for i = first, math.min(first + 1999, #marks), 2 do fields[#fields + 1] = marks[i] end
      local states = redis.call('HMGET', key, unpack(fields))
      for n = 1, #fields do before[first + 2 * (n - 1)] = states[n] and tonumber(states[n]) or 0 end
    end
  elseif kind ~= 'none' then
    return nil
  end
  for i = 1, #marks, 2 do
    local merged = merge_register(before[i] or 0, marks[i + 1])
    if merged ~= before[i] then
      plan.set[#plan.set + 1] = marks[i]
      plan.set[#plan.set + 1] = merged
    end
  end
  return plan
end

local index = redis.call('TYPE', KEYS[2])['ok']
if index ~= 'none' and index ~= 'zset' then return { 'type', KEYS[2], '' } end
local last_pane, counters = 2 + tonumber(ARGV[7]), tonumber(ARGV[8])
for i = 9, 8 + 2 * counters, 2 do
  local text = redis.call('HGET', KEYS[1], ARGV[i])
  local known = text and integer(text)
  if text and not known then return { 'type', KEYS[1], ARGV[i] } end
  if (known or 0) + tonumber(ARGV[i + 1]) > limit then return { 'overflow', KEYS[1], ARGV[i] } end
end
local at = 9 + 2 * counters
local plans, sketches = {}, {}
for k = 3, last_pane do
  local key = KEYS[k]
  local kind = redis.call('TYPE', key)['ok']
  if kind ~= 'none' and kind ~= 'hash' then return { 'type', key, '' } end
  local revision = redis.call('HGET', key, 'revision')
  if revision and not integer(revision) then return { 'type', key, 'revision' } end
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
      local operation, value = ARGV[at + 3 * i], ARGV[at + 3 * i + 2]
      local known = text and integer(text)
      if text and not known then return { 'type', key, field } end
      local result, is_exact = nil, true
      if operation == 'sketch' then
        local sketch_key = ARGV[6] .. plan.member .. '|' .. field
        sketches[#sketches + 1] = plan_sketch(sketch_key, cjson.decode(value))
        if not sketches[#sketches] or sketches[#sketches].key ~= sketch_key then return { 'type', sketch_key, '' } end
        result = 0
      elseif operation == 'add' then
        local addition = tonumber(value)
        result = (known or 0) + addition
        if result > limit or result < -limit then return { 'overflow', key, field } end
        -- What is there may itself be beyond the doubles, and the result below: exact only where all three are within.
        is_exact = is_double(result) and is_double(addition) and is_double(known or 0)
      elseif known and operation == 'min' then
        result = math.min(known, tonumber(value))
      elseif known then
        result = math.max(known, tonumber(value))
      else
        result = tonumber(value)
      end
      local writes = is_exact and plan.set or plan.add
      writes[#writes + 1] = field
      -- Redis writes a number with 17 digits: all of an exact integer's.
      writes[#writes + 1] = is_exact and result or value
    end
  end
  at = at + 3 * count
  plans[k] = plan
end

-- 3. Write; nothing below can fail.
for _, plan in ipairs(sketches) do
  if plan.dense then
    for i = 1, #plan.set, 2 do redis.call('SETRANGE', plan.key, plan.set[i], string.char(plan.set[i + 1])) end
  elseif #plan.set > 0 then
    for first = 1, #plan.set, 1000 do
      redis.call('HSET', plan.key, unpack(plan.set, first, math.min(first + 999, #plan.set)))
    end
    if redis.call('HLEN', plan.key) > sparse_max then
      local states, bytes = redis.call('HGETALL', plan.key), {}
      for i = 1, registers do bytes[i] = '\0' end
      for i = 1, #states, 2 do
        local register, state = tonumber(states[i]), tonumber(states[i + 1])
        -- What somebody else wrote must not fail here: a reconciliation will find it.
        if register and bytes[register + 1] and state then bytes[register + 1] = string.char(state % 256) end
      end
      -- SET replaces the hash. After a DEL it would be a new key, which a slot that is moving away refuses.
      redis.call('SET', plan.key, table.concat(bytes))
    end
  end
end
for k = 3, last_pane do
  local plan = plans[k]
  for first = 1, #plan.set, 1000 do
    redis.call('HSET', KEYS[k], unpack(plan.set, first, math.min(first + 999, #plan.set)))
  end
  for i = 1, #plan.add, 2 do redis.call('HINCRBY', KEYS[k], plan.add[i], plan.add[i + 1]) end
  redis.call('HINCRBY', KEYS[k], 'revision', 1)
  redis.call('HSET', KEYS[k], 'owner', ARGV[1])
  redis.call('ZADD', KEYS[2], plan.score, plan.member)
end
for i = 9, 8 + 2 * counters, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'maxEventTime', ARGV[4]) end
redis.call('HSET', KEYS[1], 'offset', ARGV[3], 'logTime', ARGV[5])
return { 'ok' }

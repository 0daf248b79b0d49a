-- Tells of panes which commit changed them last: a reader asks for hundreds at a time, and a script is one command for all.
-- KEYS: panes (hashes)  ARGV: 1 field of the revision, 2 field of the owner
-- Returns: for each, its revision and its owner's token, separated by NUL; '' where it is not there
local result = {}
for i, key in ipairs(KEYS) do
  local found = redis.call('HMGET', key, ARGV[1], ARGV[2])
  result[i] = found[1] and found[1] .. '\0' .. (found[2] or '') or ''
end
return result

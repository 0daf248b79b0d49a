-- Reads panes, each as one text: thousands of short strings take a client longer to receive than Redis to read.
-- KEYS: panes (hashes)
-- Returns: for each, its fields and values in turn, separated by NUL, which neither can hold; '' where it is not there
local result = {}
for i, key in ipairs(KEYS) do result[i] = table.concat(redis.call('HGETALL', key), '\0') end
return result

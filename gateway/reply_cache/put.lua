-- Keeps one reply for every process, within the bytes that all replies together may take.
-- KEYS: 1 names by their end, 2 their sizes, 3 bytes of all, 4 this reply, 5 the names of its project
-- ARGV: 1 its name, 2 itself, 3 its milliseconds, 4 the most bytes of all, 5 what keys of replies begin with,
--       6 what keys of projects begin with. Returns whether it was kept.
local function forget(name)
  local size = redis.call('HGET', KEYS[2], name)
  if size then
    redis.call('HDEL', KEYS[2], name)
    redis.call('DECRBY', KEYS[3], size)
  end
  redis.call('ZREM', KEYS[1], name)
  redis.call('SREM', ARGV[6] .. string.match(name, '^[^:]*'), name)
  redis.call('UNLINK', ARGV[5] .. name)
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)) do forget(name) end
forget(ARGV[1])
local size, most = #ARGV[2] + 400, tonumber(ARGV[4])
if size > most then return 0 end
for _ = 1, 100 do
  if tonumber(redis.call('GET', KEYS[3]) or '0') + size <= most then break end
  local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if first then forget(first) else redis.call('DEL', KEYS[3]) end
end
if tonumber(redis.call('GET', KEYS[3]) or '0') + size > most then return 0 end
redis.call('SET', KEYS[4], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], size)
redis.call('INCRBY', KEYS[3], size)
redis.call('SADD', KEYS[5], ARGV[1])
return 1

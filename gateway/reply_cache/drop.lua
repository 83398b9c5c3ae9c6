-- Removes replies. KEYS: 1 names by their end, 2 their sizes, 3 bytes of all, 4 the names of their project
-- ARGV: 1 what keys of replies begin with, then the names.
for place = 2, #ARGV do
  local name = ARGV[place]
  local size = redis.call('HGET', KEYS[2], name)
  if size then
    redis.call('HDEL', KEYS[2], name)
    redis.call('DECRBY', KEYS[3], size)
  end
  redis.call('ZREM', KEYS[1], name)
  redis.call('SREM', KEYS[4], name)
  redis.call('UNLINK', ARGV[1] .. name)
end

-- One step of one process over some buckets of a project: atomic, integers only, by this server's clock.
--
-- KEYS, two a bucket: its hash, and the hash of what each key has lately used of it (only where keys share it).
-- ARGV[1], msgpack: [process, lease in us, now in us or 0 for this server's, buckets, calls]
--   bucket: [capacity, period in us or 0 for calls at a time, held until a call ends (1 or 0), consumed, outstanding,
--           surplus wanted, by key]
--     consumed: used since this process' last step. outstanding: what its running calls hold, all of it.
--     by key: {key: used since the last step} where keys share the bucket, false where not.
--   call: [key, [[bucket, need], ...]]: gets all of its needs or nothing.
-- Returns [[used, surplus] a bucket], [[bucket or 0, wait in us, 1 if held back for other keys, used] a call].
--
-- A bucket's hash: `used` (what is leased and not yet used included), `at` (until when its refill is counted in), and
-- `p:<process>` = "leased:expires". What is leased does not drain, so nobody can save it up over a refill; the lease of a
-- process that is gone expires, and then drains like what was used.
local ask = cmsgpack.unpack(ARGV[1])
local process, lease, now = ask[1], ask[2], ask[3]
local WINDOW = 3600000000 -- who did not call for two hours holds nobody back

if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function text(number)
  return string.format('%.0f', number)
end

-- Reads a bucket; what other processes have leased, and what this one had.
local function read(b)
  local others, mine, gone = 0, 0, 0
  local raw = redis.call('HGETALL', b.key)
  for i = 1, #raw, 2 do
    local field, value = raw[i], raw[i + 1]
    if field == 'used' then
      b.used = tonumber(value)
    elseif field == 'at' then
      b.at = math.min(now, tonumber(value))
    else
      local leased, expires = string.match(value, '^(%d+):(%d+)$')
      if tonumber(expires) <= now then
        redis.call('HDEL', b.key, field)
        gone = math.max(gone, tonumber(expires))
      elseif field == 'p:' .. process then
        mine = tonumber(leased)
      else
        others = others + tonumber(leased)
      end
    end
  end
  b.at = math.max(b.at, gone) -- its lease may have been used in its last moment
  return others, mine
end

-- `at` moves on by what the refill was worth, rounded up: never more comes back than capacity / period.
local function drain(b, leased)
  local gained = math.floor((now - b.at) * b.capacity / b.period)
  if b.used - gained <= leased then
    b.used, b.at = leased, now
  elseif gained > 0 then
    b.used, b.at = b.used - gained, math.min(now, b.at + math.ceil(gained * b.period / b.capacity))
  end
end

local function parsed(b, raw)
  local turn, current, previous = string.match(raw or '', '^(%d+):(%d+):(%d+)$')
  if tonumber(turn) == b.turn then
    return {current = tonumber(current), previous = tonumber(previous)}
  elseif tonumber(turn) == b.turn - 1 then
    return {current = 0, previous = tonumber(current)}
  end
  return {current = 0, previous = 0}
end

local function share(b, key)
  if not b.shares[key] then
    b.shares[key] = parsed(b, redis.call('HGET', b.by_key, key) or nil)
  end
  return b.shares[key]
end

local function count(b, key, used)
  if b.shares then
    local mine = share(b, key)
    mine.current, mine.changed = math.max(0, mine.current + used), true
  end
end

-- A sliding window out of two fixed ones.
local function lately(b, share)
  return share.current + share.previous * (1 - (now % b.window) / b.window)
end

local function everyone(b)
  if not b.whole then
    local raw = redis.call('HGETALL', b.by_key)
    for i = 1, #raw, 2 do
      b.shares[raw[i]] = b.shares[raw[i]] or parsed(b, raw[i + 1])
    end
    b.whole = true
  end
  return b.shares
end

-- When less than half is left, a key that has had its equal share waits while another that calls has not.
local function held_back(b, key, need)
  if not b.shares or b.used + need <= b.capacity / 2 then
    return false
  end
  local mine, active, least = lately(b, share(b, key)), 1, nil
  for other, theirs in pairs(everyone(b)) do
    local used = lately(b, theirs)
    if other ~= key and used > 0 then
      active, least = active + 1, math.min(least or used, used)
    end
  end
  b.active = active
  local equal = b.capacity * b.window / b.period / active
  return mine >= equal and least ~= nil and least < equal
end

local function opened(i)
  local asked = ask[4][i]
  local b = {key = KEYS[2 * i - 1], by_key = KEYS[2 * i], used = 0, at = now}
  b.capacity, b.period, b.holds, b.surplus = asked[1], asked[2], asked[3] == 1, asked[6]
  b.leased = asked[5]
  local others, mine = read(b)
  if b.period == 0 then
    b.used = others + b.leased
    return b
  end
  drain(b, others + mine)
  b.used = math.max(b.used - mine + asked[4], others) + b.leased
  if asked[7] then
    b.window = math.min(b.period, WINDOW)
    b.turn, b.shares = math.floor(now / b.window), {}
    for key, used in pairs(asked[7]) do
      count(b, key, used)
    end
  end
  return b
end

local buckets = {}
for i = 1, #ask[4] do
  buckets[i] = opened(i)
end

-- What a call is short of, the longest wait first; nothing when all of it is there.
local function shortage(key, needs)
  local worst = {0, -1, 0, 0}
  for _, each in ipairs(needs) do
    local b, need = buckets[each[1]], each[2]
    local back = held_back(b, key, need)
    if back or b.used + need > b.capacity then
      local room = (back and math.floor(b.capacity / 2) or b.capacity) - need
      local wait = b.period > 0 and math.max(0, math.ceil((b.used - room) * b.period / b.capacity)) or 0
      if wait > worst[2] then
        worst = {each[1], wait, back and 1 or 0, b.used}
      end
    end
  end
  return worst
end

local function give(key, needs)
  for _, each in ipairs(needs) do
    local b, need = buckets[each[1]], each[2]
    b.used = b.used + need
    b.leased = b.leased + (b.holds and need or 0)
    count(b, key, need)
  end
end

-- For the next calls of this process: less and less as the bucket gets empty, nothing when keys compete for the rest.
local function surplus(b)
  local free = b.capacity - b.used
  if b.shares and free < b.capacity / 2 and b.active ~= 1 then
    return 0
  end
  return math.max(0, math.min(b.surplus, math.floor(free / 8)))
end

local function save(b)
  local extra = surplus(b)
  b.used, b.leased = b.used + extra, b.leased + extra
  if b.leased > 0 then
    redis.call('HSET', b.key, 'p:' .. process, text(b.leased) .. ':' .. text(now + lease))
  else
    redis.call('HDEL', b.key, 'p:' .. process)
  end
  local kept = lease
  if b.period > 0 then
    redis.call('HSET', b.key, 'used', text(b.used), 'at', text(b.at))
    kept = kept + math.max(b.period, math.ceil(b.used * b.period / b.capacity))
  end
  redis.call('PEXPIRE', b.key, text(math.ceil(kept / 1000)))
  return {b.used, extra}
end

local function save_shares(b)
  for key, share in pairs(b.shares or {}) do
    if share.changed then
      redis.call('HSET', b.by_key, key, text(b.turn) .. ':' .. text(share.current) .. ':' .. text(share.previous))
    elseif share.current + share.previous == 0 then
      redis.call('HDEL', b.by_key, key)
    end
  end
  if b.shares then
    redis.call('PEXPIRE', b.by_key, text(math.ceil(2 * b.window / 1000)))
  end
end

local calls = {}
for i, call in ipairs(ask[5]) do
  calls[i] = shortage(call[1], call[2])
  if calls[i][1] == 0 then
    give(call[1], call[2])
  end
end
local states = {}
for i, b in ipairs(buckets) do
  states[i] = save(b)
  save_shares(b)
end
return {states, calls}

-- One step of one process over some buckets of a project: atomic, integers only, by this server's clock.
--
-- KEYS, two a bucket: its hash, and the hash of what each key has lately used of it (only where keys share it).
-- ARGV[1], msgpack: [process, lease in us, now in us or 0 for this server's, buckets, calls]
--   bucket: [capacity, period in us or 0 for calls at a time, held until a call ends (1 or 0), consumed, outstanding,
--           surplus wanted, by key]
--     consumed: used since this process' last step. outstanding: what its running calls hold, all of it.
--     by key: where keys share the bucket, false where not: {key: used since the last step}; of calls at a time
--           {key: what its running calls hold, all of it}.
--   call: [key, [[bucket, need], ...], 1 if it asks again after a refusal, 1 if it may be taken back]: gets all of its needs
--           or nothing. What may be taken back is held like tokens, until it is told as consumed or not any more.
-- Returns [[used, surplus, rivalry] a bucket], [[bucket or 0, wait in us, 1 if held back for other keys, used] a call].
--   rivalry: see Rivalry in bucket.py.
--
-- A bucket's hash: `used` (what is leased and not yet used included), `at` (until when its refill is counted in), and
-- `p:<process>` = "leased:expires". What is leased does not drain, so nobody can save it up over a refill; the lease of a
-- process that is gone expires, and then drains like what was used.
-- The other hash: of a bucket that refills, key = "turn:used in it:used in the one before". Of calls at a time,
-- `p:<process>` = what each key holds there (counts as long as the process' lease), and `k:<key>` = what it wishes.
local ask = cmsgpack.unpack(ARGV[1])
local process, lease, now = ask[1], ask[2], ask[3]
local WINDOW = 3600000000 -- who did not call for two hours holds nobody back
local PLACES_WINDOW = 5000000 -- what a key wanted at a time is kept in mind for one to two of these

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
        b.alive[string.sub(field, 3)] = true
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

-- Calls at a time: what a key holds (`now`), the most that it lately held or asked for at a time, since when it has been
-- waiting (0: it is not), and in which turn it was last refused.
local function wish(b, key)
  if not b.wishes[key] then
    b.wishes[key] = {now = 0, current = 0, previous = 0, since = 0, refused = 0}
  end
  return b.wishes[key]
end

local function remember(b, key, raw)
  local turn, current, previous, since, refused = string.match(raw, '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
  local each = wish(b, key)
  if tonumber(turn) == b.turn then
    each.current, each.previous = tonumber(current), tonumber(previous)
  elseif tonumber(turn) == b.turn - 1 then
    each.previous = tonumber(current)
  else
    redis.call('HDEL', b.by_key, 'k:' .. key)
    return
  end
  each.since, each.refused = tonumber(since), tonumber(refused)
end

local function wanted(each)
  return math.max(each.now, each.current, each.previous)
end

local function raise(each, most)
  if most > each.current then
    each.current, each.changed = most, true
  end
end

local function hold(b, key, held)
  local each = wish(b, key)
  each.now = each.now + held
  raise(each, each.now)
end

-- Every key's wish; read only where less than half is left.
local function wishes(b)
  if b.wishes then
    return b.wishes
  end
  b.wishes = {}
  local raw = redis.call('HGETALL', b.by_key)
  for i = 1, #raw, 2 do
    local kind, name = string.sub(raw[i], 1, 2), string.sub(raw[i], 3)
    if kind == 'k:' then
      remember(b, name, raw[i + 1])
    elseif b.alive[name] then
      for key, held in pairs(cmsgpack.unpack(raw[i + 1])) do
        wish(b, key).now = wish(b, key).now + held
      end
    elseif name ~= process then
      redis.call('HDEL', b.by_key, raw[i])
    end
  end
  for key, held in pairs(b.places) do
    hold(b, key, held)
  end
  return b.wishes
end

-- Places go to the key that holds the fewest, among equals to the one that waits the longest. So a key leaves those free
-- that others want up to as many as it has itself.
local function gives_way(b, key, need)
  local all, free, kept = wishes(b), b.capacity - b.used, 0
  local mine = wish(b, key)
  for other, theirs in pairs(all) do
    if other ~= key then
      local first = theirs.since > 0 and (mine.since == 0 or theirs.since < mine.since)
      kept = kept + math.max(0, math.min(wanted(theirs), mine.now + (first and 1 or 0)) - theirs.now)
    end
  end
  return need <= free and free - kept < need
end

-- A call of the key found no place.
local function refused(b, key, again)
  local mine = wish(b, key)
  raise(mine, math.min(b.capacity, math.max(mine.now + 1, mine.current + (again and 0 or 1))))
  mine.since, mine.refused, mine.changed = mine.since > 0 and mine.since or now, b.turn, true
end

local function rivalry(b)
  if not b.places or b.used <= b.capacity / 2 then
    return 0
  end
  local keys, most, fewest, lately = 0, 0, nil, false
  for _, each in pairs(wishes(b)) do
    keys = keys + (wanted(each) > 0 and 1 or 0)
    most = math.max(most, each.now)
    lately = lately or each.refused >= b.turn - 1
    if each.since > 0 and wanted(each) > each.now then
      fewest = math.min(fewest or each.now, each.now)
    end
  end
  if keys < 2 or not lately then
    return 0
  end
  return fewest and fewest < most and 2 or 1
end

-- When less than half is left, a key that has had its equal share waits while another that calls has not.
local function held_back(b, key, need)
  if b.used + need <= b.capacity / 2 then
    return false
  elseif b.places then
    return gives_way(b, key, need)
  elseif not b.shares then
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
  local b = {key = KEYS[2 * i - 1], by_key = KEYS[2 * i], used = 0, at = now, alive = {}}
  b.capacity, b.period, b.holds, b.surplus = asked[1], asked[2], asked[3] == 1, asked[6]
  b.leased = asked[5]
  local others, mine = read(b)
  if b.period == 0 then
    b.used = others + b.leased
    if asked[7] then
      b.places, b.window, b.turn = asked[7], PLACES_WINDOW, math.floor(now / PLACES_WINDOW)
    end
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
local function shortage(key, needs, again)
  local worst, full = {0, -1, 0, 0}, {}
  for _, each in ipairs(needs) do
    local b, need = buckets[each[1]], each[2]
    local back = held_back(b, key, need)
    if back or b.used + need > b.capacity then
      local room = (back and math.floor(b.capacity / 2) or b.capacity) - need
      local wait = b.period > 0 and math.max(0, math.ceil((b.used - room) * b.period / b.capacity)) or 0
      if wait > worst[2] then
        worst = {each[1], wait, back and 1 or 0, b.used}
      end
      full[#full + 1] = b.places and b or nil
    end
  end
  if worst[2] == 0 then -- places alone are what it lacks
    for _, b in ipairs(full) do
      refused(b, key, again)
    end
  end
  return worst
end

local function placed(b, key, need)
  b.places[key] = (b.places[key] or 0) + need
  if b.wishes then
    local mine = wish(b, key)
    hold(b, key, need)
    mine.changed, mine.since = mine.changed or mine.since > 0, 0
  end
end

local function give(key, needs, unpaid)
  for _, each in ipairs(needs) do
    local b, need = buckets[each[1]], each[2]
    b.used = b.used + need
    b.leased = b.leased + ((b.holds or unpaid) and need or 0)
    count(b, key, need)
    if b.places then
      placed(b, key, need)
    end
  end
end

-- For the next calls of this process: less and less as the bucket gets empty, nothing when keys compete for the rest.
local function surplus(b)
  local free = b.capacity - b.used
  if b.rivalry > 0 or b.shares and free < b.capacity / 2 and b.active ~= 1 then
    return 0
  end
  return math.max(0, math.min(b.surplus, math.floor(free / 8)))
end

local function save(b)
  b.rivalry = rivalry(b)
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
  return {b.used, extra, b.rivalry}
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

local function save_places(b)
  if next(b.places) then
    redis.call('HSET', b.by_key, 'p:' .. process, cmsgpack.pack(b.places))
  else
    redis.call('HDEL', b.by_key, 'p:' .. process)
  end
  for key, each in pairs(b.wishes or {}) do
    if each.changed then
      local numbers = {b.turn, each.current, each.previous, each.since, each.refused}
      for i, number in ipairs(numbers) do
        numbers[i] = text(number)
      end
      redis.call('HSET', b.by_key, 'k:' .. key, table.concat(numbers, ':'))
    end
  end
  redis.call('PEXPIRE', b.by_key, text(math.ceil(math.max(lease, 2 * b.window) / 1000)))
end

local calls = {}
for i, call in ipairs(ask[5]) do
  calls[i] = shortage(call[1], call[2], call[3] == 1)
  if calls[i][1] == 0 then
    give(call[1], call[2], call[4] == 1)
  end
end
local states = {}
for i, b in ipairs(buckets) do
  states[i] = save(b)
  save_shares(b)
  if b.places then
    save_places(b)
  end
end
return {states, calls}

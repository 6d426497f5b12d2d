-- Decides a batch of operations of one space (a tenant, or the platform): each call by all of its places or by none.
-- Redis 6.2 commands and Redis time; every key is in KEYS, all in one slot; what is read is read once, and written last.
-- Amounts are whole nano-dollars below 2^53, so doubles hold them exactly; they are written with %.0f only.
--
-- KEYS[1]    hash: r run id of the server, e epoch, s state (b building, r ready), t ready since (ms)
-- KEYS[2]    hash: call id -> "amount state sequence owner since_ms refs payload", see `record.py`
-- KEYS[3..]  the places, numbered from 1
-- ARGV[1]    now in us, 0 for the server's own clock (tests give it)
-- ARGV[2]    run id of the server as the worker knows it
-- ARGV[3]    the worker, as owner of what it writes
-- ARGV[4]    the number of places, then five for each: kind and four numbers
--              1 requests, 2 tokens (period_us, amount, burst, 0); 3 parallel (amount, lease_ms, 0, 0)
--              4 hard, 5 soft budget (amount, begins_ms, place of the window before or 0, needed until: ms, 0 for ever)
--              6 the window before (amount, begins_ms, 0, needed until); 11, 12, 13: as 1, 2, 3, counted and never refusing
-- then       operations, one argument each: words with a blank between them, n of them being the count of (place, number)
--            pairs that follow it; what stands behind those is the payload, or the ids
--   a id full forecast refs n           admit, with a payload: 11 integers back (see `Verdict` in admission_batch.py)
--   x id sequence add n                 extend: 1 integer: 0 done, -1 not trusted, -2 no such hold, else the place without room
--   p id sequence state amount since refs n   put, with a payload: number 1 keeps a budget, 0 lets go of it; for rates what is added
--   v id certain n                      void: give back; certain 0: it may not have come here yet, so leave a tombstone
--   f n                                 forget these ids: they are in the ledger
--   n id n                              renew the leases
--   i base version n                    what the ledger holds of a budget, set if it is newer
-- An `a` answers 0, or 1 (a rate, place, wait), 2 (a budget, place), -1 (counters not trusted), -2 (budget not known yet,
-- place), -3 (voided before it came).

local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local now_ms = floor(now / 1000)
local run_id, owner, places = ARGV[2], ARGV[3], tonumber(ARGV[4])

local at = 5
local kind, one, two, three, until_ms = {}, {}, {}, {}, {}
local counts_money = false
for i = 1, places do
  kind[i], one[i], two[i], three[i] = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  until_ms[i] = ARGV[at + 4]
  at = at + 5
  if kind[i] >= 4 and kind[i] <= 6 then
    counts_money = true
  end
end

local epoch, ready_ms, is_live, is_ready = '', 0, false, false
if counts_money then
  local gen = redis.call('HMGET', KEYS[1], 'r', 'e', 's', 't')
  is_live = gen[1] == run_id and gen[2] ~= false
  is_ready = is_live and gen[3] == 'r'
  epoch, ready_ms = gen[2] or '', tonumber(gen[4] or 0) or 0
end

-- Rates: the time (us) at which the bucket is full again.
local tat, interval, room, is_moved = {}, {}, {}, {}
local function rate(i)
  if tat[i] == nil then
    -- Whole microseconds for a request, so that a burst is exactly as many; a token may be less than one.
    interval[i] = kind[i] % 10 == 1 and ceil(one[i] / two[i]) or one[i] / two[i]
    room[i] = ceil(interval[i] * three[i])
    local stored = tonumber(redis.call('MGET', KEYS[i + 2])[1] or 0) or 0
    if kind[i] % 10 == 1 then
      -- Further ahead than an empty bucket: from a clock that stepped back, or from a lower limit.
      stored = min(stored, now + room[i])
    end
    tat[i] = max(now, stored)
  end
end

-- Leases of parallel calls.
local taken, leases, is_leased = {}, {}, {}
local function slots(i)
  if taken[i] == nil then
    taken[i] = redis.call('ZCOUNT', KEYS[i + 2], string.format('(%.0f', now_ms), '+inf')
    leases[i] = {}
  end
end

local function let_go(i, id)
  slots(i)
  local ends = leases[i][id] or tonumber(redis.call('ZSCORE', KEYS[i + 2], id) or 0) or 0
  if ends > now_ms then
    taken[i] = taken[i] - 1
  end
  leases[i][id], is_leased[i] = 0, true
end

-- Budgets: b what the ledger holds, v its version (nil: not known), h what is held beside it. What is told of one that is
-- not known waits in cb, cv: rows that others told and forgot may be newer, so only the ledger itself makes it known.
local base, version, held, is_changed, is_stale = {}, {}, {}, {}, {}
local told_base, told, has_until = {}, {}, {}
local function budget(i)
  if held[i] ~= nil then
    return
  end
  local stored = redis.call('HMGET', KEYS[i + 2], 'e', 'b', 'v', 'h', 'cb', 'cv', 'u')
  if stored[1] == epoch then
    has_until[i] = stored[7] ~= false
    told_base[i], told[i] = tonumber(stored[5] or nil), tonumber(stored[6] or nil)
    base[i], version[i], held[i] = tonumber(stored[2] or nil), tonumber(stored[3] or nil), tonumber(stored[4] or 0) or 0
  else
    held[i], is_stale[i] = 0, true
  end
  -- Nothing can have been spent of a window that began when every worker counted here already. A minute for clocks that differ.
  if version[i] == nil and is_ready and two[i] > ready_ms + 60000 then
    base[i], version[i], is_changed[i] = told_base[i] or 0, told[i] or 0, true
  end
end

local function remaining_of(i)
  local amount = one[i]
  local before = three[i]
  if before > 0 then
    budget(before)
    if version[before] == nil then
      return nil, before
    end
    amount = amount + max(0, one[before] - base[before] - held[before])
  end
  return amount - base[i] - held[i]
end

local records, is_written = {}, {}
local function record(id)
  if records[id] == nil then
    local stored = redis.call('HGET', KEYS[2], id)
    local found = false
    if stored then
      local amount, state, sequence, whose, since, refs, payload = string.match(stored, '^(%d+) (%a) (%d+) (%x+) (%d+) (%S+) (.*)$')
      if amount then
        found = {tonumber(amount), state, tonumber(sequence), whose, since, refs, payload}
      end
    end
    records[id] = found
  end
  return records[id]
end

local function write(id, amount, state, sequence, since, refs, payload)
  local before = record(id)
  if payload == '' and before then
    payload = before[7]
  end
  records[id] = {amount, state, sequence, owner, since, refs, payload}
  is_written[id] = true
end

local function wait_of(i, units)
  local cost = ceil(units * interval[i])
  if cost > room[i] then
    -- Dearer than the burst: on a full bucket, into debt.
    return tat[i] - now, cost
  end
  return tat[i] + cost - now - room[i], cost
end

-- The words of the operation that is being done.
local word = {}
local FIXED = {a = 6, x = 5, p = 8, v = 4, f = 2, n = 3, i = 4}
local function read(text)
  local fixed = FIXED[string.sub(text, 1, 1)]
  local count, total, behind = 0, fixed, 1
  for found, after in string.gmatch(text, '(%S+) ?()') do
    count, behind = count + 1, after
    word[count] = found
    if count == fixed then
      total = fixed + 2 * tonumber(found)
    end
    if count == total then
      break
    end
  end
  return fixed + 1, total, string.sub(text, behind)
end

local out = {}
local function tell(value)
  out[#out + 1] = value
end

local function report(first, last)
  local shown = {0, 0}
  local least = {}
  for a = first, last, 2 do
    local i = tonumber(word[a])
    if kind[i] == 1 or kind[i] == 2 then
      local left = max(0, floor((room[i] - (tat[i] - now)) / interval[i] + 1e-9))
      local share = left / max(1, three[i])
      if least[kind[i]] == nil or share < least[kind[i]] then
        shown[kind[i]], least[kind[i]] = i, share
      end
    end
  end
  for class = 1, 2 do
    local i = shown[class]
    tell(i)
    tell(i > 0 and max(0, floor((room[i] - (tat[i] - now)) / interval[i] + 1e-9)) or 0)
    tell(i > 0 and ceil(tat[i] - now) or 0)
  end
end

local function admit(id, full, forecast, refs, payload, first, last)
  local refused, wait, would_refuse, hard, takes_full = 0, 0, 0, 0, full >= 0
  local counts, broke, unknown, without_room = false, 0, 0, 0
  for a = first, last, 2 do
    local i, units = tonumber(word[a]), tonumber(word[a + 1])
    local what = kind[i] % 10
    if what <= 2 then
      rate(i)
      local longer = wait_of(i, units)
      if longer > 0 then
        if kind[i] > 10 then
          would_refuse = would_refuse + 1
        elseif longer > wait then
          refused, wait = i, longer
        end
      end
    elseif what == 3 then
      slots(i)
      if taken[i] >= one[i] then
        if kind[i] > 10 then
          would_refuse = would_refuse + 1
        elseif wait < 1000000 then
          refused, wait = i, 1000000
        end
      end
    elseif what == 4 then
      counts, hard = true, hard + 1
      if not is_ready then
        broke = -1
      elseif broke == 0 then
        budget(i)
        local left, lacking = nil, i
        if version[i] ~= nil then
          left, lacking = remaining_of(i)
        end
        if left == nil then
          broke, unknown = -2, lacking
        else
          if full * 64 > left then
            takes_full = false
          end
          if without_room == 0 and (forecast > left or left <= 0) then
            without_room = i
          end
        end
      end
    elseif what == 5 then
      counts = true
    end
  end
  if counts and is_ready then
    local before = record(id)
    if before and before[2] == 'x' then
      broke = -3
    elseif before then
      -- It came late: what it holds was told already.
      counts = false
    end
  end
  if without_room > 0 then
    tell(2)
    tell(without_room)
    tell(0)
    tell(0)
  elseif refused > 0 then
    tell(1)
    tell(refused)
    tell(wait)
    tell(0)
  elseif broke ~= 0 then
    tell(broke)
    tell(unknown)
    tell(0)
    tell(0)
  else
    for a = first, last, 2 do
      local i, units = tonumber(word[a]), tonumber(word[a + 1])
      local what = kind[i] % 10
      if what <= 2 then
        local longer, cost = wait_of(i, units)
        tat[i] = tat[i] + cost
        if longer > 0 then
          -- Of a shadow: it goes no further than empty.
          tat[i] = max(tat[i] - cost, now + room[i])
        end
        is_moved[i] = true
      elseif what == 3 then
        taken[i] = taken[i] + 1
        leases[i][id], is_leased[i] = now_ms + two[i], true
      end
    end
    local takes = 0
    if counts and is_ready then
      -- Soft budgets alone: nothing is near, so the likely amount is told.
      local amount = takes_full and hard > 0 and full or forecast
      takes = (hard == 0 or amount == full) and 1 or 2
      for a = first, last, 2 do
        local i = tonumber(word[a])
        if kind[i] == 4 or kind[i] == 5 then
          budget(i)
          held[i], is_changed[i] = held[i] + amount, true
        end
      end
      write(id, amount, 'h', 0, string.format('%.0f', now_ms), refs, payload)
    end
    tell(0)
    tell(0)
    tell(0)
    tell(takes)
  end
  report(first, last)
  tell(would_refuse)
end

local function extend(id, sequence, add, first, last)
  local before = is_ready and record(id)
  if not is_ready then
    return tell(-1)
  elseif not before or before[2] ~= 'h' then
    return tell(-2)
  elseif before[3] >= sequence then
    return tell(0)
  end
  for a = first, last, 2 do
    local i = tonumber(word[a])
    if kind[i] == 4 then
      budget(i)
      local left = version[i] ~= nil and remaining_of(i)
      if not left or add > left then
        return tell(i)
      end
    end
  end
  for a = first, last, 2 do
    local i = tonumber(word[a])
    if kind[i] == 4 or kind[i] == 5 then
      budget(i)
      held[i], is_changed[i] = held[i] + add, true
    end
  end
  write(id, before[1] + add, 'h', sequence, before[5], before[6], '')
  tell(0)
end

local function move(i, units)
  rate(i)
  local by = units * interval[i]
  tat[i] = max(now, tat[i] + (by > 0 and ceil(by) or floor(by)))
  is_moved[i] = true
end

local function put(id, sequence, state, amount, since, refs, payload, first, last)
  local before = is_live and record(id)
  local counts = is_live and not (before and (before[2] == 's' or before[3] > sequence or before[2] == 'x'))
  local keeps = false
  for a = first, last, 2 do
    local i, number = tonumber(word[a]), tonumber(word[a + 1])
    local what = kind[i] % 10
    if what <= 2 then
      move(i, number)
    elseif what == 3 then
      if state == 's' then
        let_go(i, id)
      else
        slots(i)
        leases[i][id], is_leased[i] = now_ms + two[i], true
      end
    elseif counts and what <= 5 then
      budget(i)
      held[i] = held[i] + (number > 0 and amount or 0) - (before and before[1] or 0)
      is_changed[i], keeps = true, true
    end
  end
  if is_live and before and before[2] == 's' and before[7] == '' and payload ~= '' then
    -- Settled when nothing was known of it any more; what it is about comes now.
    write(id, before[1], 's', before[3], before[5], before[6], payload)
  elseif keeps then
    write(id, amount, state, sequence, before and before[5] or since, refs, payload)
  end
end

local function release(id, first, last)
  local before = is_live and record(id)
  if before then
    for a = first, last, 2 do
      local i = tonumber(word[a])
      if kind[i] == 4 or kind[i] == 5 then
        budget(i)
        held[i], is_changed[i] = max(0, held[i] - before[1]), true
      end
    end
    records[id], is_written[id] = false, true
  end
  return before
end

local function void(id, is_certain, first, last)
  for a = first, last, 2 do
    local i, units = tonumber(word[a]), tonumber(word[a + 1])
    local what = kind[i] % 10
    if what <= 2 and is_certain then
      move(i, -units)
    elseif what == 3 then
      let_go(i, id)
    end
  end
  if not release(id, first, last) and is_live and not is_certain then
    write(id, 0, 'x', 0, string.format('%.0f', now_ms), '-', '')
  end
end

for number = at, #ARGV do
  local first, last, rest = read(ARGV[number])
  local operation, id = word[1], word[2]
  if operation == 'a' then
    admit(id, tonumber(word[3]), tonumber(word[4]), word[5], rest, first, last)
  elseif operation == 'x' then
    extend(id, tonumber(word[3]), tonumber(word[4]), first, last)
  elseif operation == 'p' then
    put(id, tonumber(word[3]), word[4], tonumber(word[5]), word[6], word[7], rest, first, last)
  elseif operation == 'v' then
    void(id, word[3] == '1', first, last)
  elseif operation == 'f' then
    for each in string.gmatch(rest, '%x+') do
      release(each, first, last)
    end
  elseif operation == 'n' then
    for a = first, last, 2 do
      local i = tonumber(word[a])
      slots(i)
      leases[i][id], is_leased[i] = now_ms + two[i], true
    end
  elseif operation == 'i' and is_live then
    local i = tonumber(word[first])
    budget(i)
    local newer = tonumber(word[3])
    if version[i] == nil then
      if newer > (told[i] or -1) then
        told_base[i], told[i], is_changed[i] = tonumber(id), newer, true
      end
    elseif newer > version[i] then
      base[i], version[i], is_changed[i] = tonumber(id), newer, true
    end
  end
end

for i in pairs(is_moved) do
  -- A full bucket says nothing: the key may go as soon as it is. A second more absorbs rounding.
  redis.call('SET', KEYS[i + 2], string.format('%.0f', tat[i]), 'PX', ceil((tat[i] - now) / 1000) + 1000)
end
for i in pairs(is_leased) do
  local key = KEYS[i + 2]
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now_ms))
  for id, ends in pairs(leases[i]) do
    if ends > 0 then
      redis.call('ZADD', key, string.format('%.0f', ends), id)
    else
      redis.call('ZREM', key, id)
    end
  end
  redis.call('PEXPIRE', key, two[i] * 2)
end
for i in pairs(is_changed) do
  local key = KEYS[i + 2]
  if is_stale[i] then
    redis.call('DEL', key)
  end
  if until_ms[i] ~= '0' and not has_until[i] then
    -- When nobody asks for it any more, so that it can be swept away (never by time alone: money has no TTL).
    redis.call('HSET', key, 'u', until_ms[i])
  end
  local h = string.format('%.0f', held[i])
  if version[i] ~= nil then
    redis.call('HSET', key, 'e', epoch, 'h', h, 'b', string.format('%.0f', base[i]), 'v', string.format('%.0f', version[i]))
  else
    redis.call('HSET', key, 'e', epoch, 'h', h)
    if told[i] ~= nil then
      redis.call('HSET', key, 'cb', string.format('%.0f', told_base[i]), 'cv', string.format('%.0f', told[i]))
    end
  end
end
for id in pairs(is_written) do
  local entry = records[id]
  if entry then
    redis.call(
      'HSET', KEYS[2], id,
      string.format('%.0f %s %.0f %s %s %s ', entry[1], entry[2], entry[3], entry[4], entry[5], entry[6]) .. entry[7]
    )
  else
    redis.call('HDEL', KEYS[2], id)
  end
end
return out

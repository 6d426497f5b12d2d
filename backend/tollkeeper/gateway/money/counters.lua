-- What keeps the counters of one space (a tenant, or the platform) right; `admission.lua` decides calls on them.
-- Redis 6.2 commands and Redis time; every key is in KEYS, all in one slot; all checks come before the first write.
-- Amounts are whole nano-dollars below 2^53, so doubles hold them exactly; they are written with %.0f only.
--
-- KEYS[1]    hash: r run id of the server, e epoch, s state (b building, r ready), t ready since (ms)
-- KEYS[2]    hash: call id, or A<owner>:<ref> of an allotment -> "amount state sequence owner since_ms refs payload"
-- KEYS[3]    set: the workers that have told this epoch all they hold
-- KEYS[4..]  the counters that are named, numbered from 1
-- ARGV[1]    operation    ARGV[2]  run id of the server as the worker knows it    then
--   begin                          a new epoch, unless the counters are trusted: began (0, 1), epoch
--   answer epoch worker            the worker has told all it holds: 1, or 0 when the epoch is another one
--   ready epoch worker...          1 when all of them have answered, 0 when not, -1 when the epoch is another one
--   keep (field, value)...         write allotments as they are; one counter each: 1, or 0 without an epoch
--   allot owner workers (ref, floor, want, limit, worst, sequence)...
--                                  put aside for a worker; one counter each: two integers back, what is put aside now and
--                                  what may be next time; -1 0 not trusted, -2 0 not known
--   close epoch bases (base, version)... field...
--                                  what the ledger holds of the first counters, read in that epoch, set if newer; then
--                                  forget the records, whose counters are all named: how many, -1 in another epoch
--   sweep                          remove the counters that are of another epoch, or that nobody needs and nobody holds
--                                  anything of (u, ms since 1970, has passed): how many
--
-- A counter's base is known once the ledger was read for it in this epoch (b, v). What an acknowledgement tells of a
-- counter that is not known waits in cb, cv: it may be older than rows that others have told and forgotten already.

local operation, run_id = ARGV[1], ARGV[2]
local gen = redis.call('HMGET', KEYS[1], 'r', 'e', 's')
local epoch, is_live = gen[2], gen[1] == run_id and gen[2] ~= false
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function text(number)
  return string.format('%.0f', number)
end

-- A counter of another epoch says nothing: it starts anew, its base unknown.
local function counter(key)
  local stored = redis.call('HMGET', key, 'e', 'b', 'v', 'h', 'cb', 'cv')
  if stored[1] ~= epoch then
    return {is_new = true, h = 0}
  end
  return {
    b = tonumber(stored[2] or nil), v = tonumber(stored[3] or nil), h = tonumber(stored[4] or 0) or 0,
    cb = tonumber(stored[5] or nil), cv = tonumber(stored[6] or nil),
  }
end

local function write(key, c)
  if c.is_new then
    redis.call('DEL', key)
  end
  redis.call('HSET', key, 'e', epoch, 'h', text(math.max(0, c.h)))
  if c.v ~= nil then
    redis.call('HSET', key, 'b', text(c.b), 'v', text(c.v))
  end
end

local function record(field)
  local stored = redis.call('HGET', KEYS[2], field)
  if stored then
    local amount, refs = string.match(stored, '^(%d+) %a %d+ %x+ %d+ (%S+) ')
    return tonumber(amount), refs
  end
end

if operation == 'begin' then
  if is_live and gen[3] == 'r' then
    return {0, epoch}
  end
  local next_epoch = text(math.max((tonumber(epoch or 0) or 0) + 1, now_ms))
  redis.call('UNLINK', KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[1], 'r', run_id, 'e', next_epoch, 's', 'b', 't', text(now_ms))
  return {1, next_epoch}
end

if operation == 'answer' then
  if not is_live or epoch ~= ARGV[3] then
    return 0
  end
  redis.call('SADD', KEYS[3], ARGV[4])
  return 1
end

if operation == 'ready' then
  if not is_live or epoch ~= ARGV[3] then
    return -1
  end
  for i = 4, #ARGV do
    if redis.call('SISMEMBER', KEYS[3], ARGV[i]) == 0 then
      return 0
    end
  end
  if gen[3] ~= 'r' then
    redis.call('HSET', KEYS[1], 's', 'r', 't', text(now_ms))
  end
  return 1
end

if operation == 'keep' then
  if not is_live then
    return 0
  end
  for i = 4, #KEYS do
    local at = 2 * i - 5
    local c = counter(KEYS[i])
    c.h = c.h + tonumber(string.match(ARGV[at + 1], '^%d+')) - (record(ARGV[at]) or 0)
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
    write(KEYS[i], c)
  end
  return 1
end

if operation == 'allot' then
  local out, owner, workers = {}, ARGV[3], tonumber(ARGV[4])
  for i = 4, #KEYS do
    local at = 5 + 6 * (i - 4)
    local ref, floor, want = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local limit, worst, sequence = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), ARGV[at + 5]
    if not is_live or gen[3] ~= 'r' then
      out[#out + 1], out[#out + 2] = -1, 0
    else
      local c = counter(KEYS[i])
      if c.v == nil then
        out[#out + 1], out[#out + 2] = -2, 0
      else
        local field = 'A' .. owner .. ':' .. ref
        local before = record(field) or 0
        local left = limit - c.b - (c.h - before)
        local may = 0
        if left >= 64 * worst then
          may = math.floor(left / 50 / workers)
        end
        local amount = math.max(floor, math.min(want, may))
        if amount ~= before then
          c.h = c.h - before + amount
          if amount > 0 then
            redis.call('HSET', KEYS[2], field, text(amount) .. ' l ' .. sequence .. ' ' .. owner .. ' ' .. text(now_ms) .. ' ' .. ref .. ' ')
          else
            redis.call('HDEL', KEYS[2], field)
          end
          write(KEYS[i], c)
        end
        out[#out + 1], out[#out + 2] = text(amount), text(may)
      end
    end
  end
  return out
end

if operation == 'sweep' then
  local swept = 0
  for i = 4, is_live and #KEYS or 3 do
    local stored = redis.call('HMGET', KEYS[i], 'e', 'u', 'h')
    local is_over = stored[2] and tonumber(stored[2]) < now_ms and tonumber(stored[3] or 0) == 0
    if stored[1] ~= epoch or is_over then
      swept = swept + redis.call('UNLINK', KEYS[i])
    end
  end
  return swept
end

-- close
if not is_live or epoch ~= ARGV[3] then
  return -1
end
local counters, bases, known = {}, tonumber(ARGV[4]), {}
local prefix = string.match(KEYS[1], '^(.*)gen$') .. 'b:'
for i = 4, #KEYS do
  counters[i] = counter(KEYS[i])
  known[KEYS[i]] = i
end
local at = 5
for i = 4, 3 + bases do
  local c, version = counters[i], tonumber(ARGV[at + 1])
  if c.v == nil or version > c.v then
    c.b, c.v = tonumber(ARGV[at]), version
  end
  if c.cv ~= nil and c.cv > c.v then
    c.b, c.v = c.cb, c.cv
  end
  at = at + 2
end
local gone, count = {}, 0
for a = at, #ARGV do
  local amount, refs = record(ARGV[a])
  local is_whole = amount ~= nil
  if amount ~= nil and refs ~= '-' then
    for ref in string.gmatch(refs, '[^,]+') do
      is_whole = is_whole and known[prefix .. ref] ~= nil
    end
    if is_whole then
      for ref in string.gmatch(refs, '[^,]+') do
        local c = counters[known[prefix .. ref]]
        c.h = c.h - amount
      end
    end
  end
  if is_whole then
    gone[#gone + 1] = ARGV[a]
  end
end
for i = 4, #KEYS do
  write(KEYS[i], counters[i])
end
for _, field in ipairs(gone) do
  count = count + redis.call('HDEL', KEYS[2], field)
end
return count

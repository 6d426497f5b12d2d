-- Admits a batch of calls of one tenant: each call by all of its scopes or by none. The twin of gcra.py.
-- Redis 6.2 commands and Redis time. All reads come first, all writes last; every key is in KEYS, all in one slot.
--
-- KEYS       one per scope that any call of the batch has: the time (us) at which its bucket is full again
-- ARGV[1]    now in us, 0 for the server's own clock (tests give it)
-- then       for each key: interval_us, burst
-- then       operations: 'a' (admit) or 'v' (void), the number of scopes, the index of each
-- Returns    five integers for each 'a': refused_by, wait_us, scope, remaining, reset_us (see Verdict in gcra.py)

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local stored = redis.call('MGET', unpack(KEYS))
local tat, interval, room, changed = {}, {}, {}, {}
local at = 2
for i = 1, #KEYS do
  interval[i] = tonumber(ARGV[at])
  room[i] = interval[i] * tonumber(ARGV[at + 1])
  at = at + 2
  -- A time further ahead than an empty bucket comes from a clock that stepped back, or from a lower limit.
  tat[i] = math.max(now, math.min(tonumber(stored[i] or 0) or 0, now + room[i]))
end

local function remaining(i)
  return math.floor((room[i] - (tat[i] - now)) / interval[i])
end

local out = {}
local function report(refused_by, wait, i)
  local n = #out
  out[n + 1] = refused_by
  out[n + 2] = wait
  out[n + 3] = i
  out[n + 4] = remaining(i)
  out[n + 5] = tat[i] - now
end

while at <= #ARGV do
  local operation, first = ARGV[at], at + 2
  local last = at + 1 + tonumber(ARGV[at + 1])
  at = last + 1
  if operation == 'v' then
    for a = first, last do
      local i = tonumber(ARGV[a])
      tat[i] = math.max(now, tat[i] - interval[i])
      changed[i] = true
    end
  else
    local refused_by, wait = 0, 0
    for a = first, last do
      local i = tonumber(ARGV[a])
      local excess = tat[i] + interval[i] - now - room[i]
      if excess > wait then
        refused_by, wait = i, excess
      end
    end
    if refused_by > 0 then
      report(refused_by, wait, refused_by)
    else
      local tightest, least
      for a = first, last do
        local i = tonumber(ARGV[a])
        tat[i] = tat[i] + interval[i]
        changed[i] = true
        local left = remaining(i)
        if least == nil or left < least then
          tightest, least = i, left
        end
      end
      report(0, 0, tightest)
    end
  end
end

for i in pairs(changed) do
  -- A full bucket says nothing: the key may go as soon as it is. A second more absorbs rounding.
  redis.call('SET', KEYS[i], string.format('%.0f', tat[i]), 'PX', math.ceil((tat[i] - now) / 1000) + 1000)
end
return out

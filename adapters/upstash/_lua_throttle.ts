/** The Lua twins of throttles; see `_lua.ts` for the rules. */
import type { LuaTwin } from "./_lua.ts";

const SOUND = `
local function whole(v) return v and #v <= 16 and string.find(v, '^%d+$') end
local function sound(r) return whole(r.x) and whole(r.b or '0') end
`;

const DECIDE = SOUND + `
local function parts(s)
  local out = {}
  for n in string.gmatch(s or '', '[^:]+') do out[#out + 1] = n end
  return out
end
local function sane(s, count)
  local list = parts(s)
  for n = 1, count do if not whole(list[n]) then return false end end
  return #list == count and #table.concat(list, ':') == #s
end
local function gcra(unit, burst, s, cost, now)
  local us = now * 1000
  local nxt = math.max(math.max(tonumber(s or '0'), us) + cost * unit, us)
  local over = 0
  if cost > 0 then over = nxt - burst * unit - us end
  local retry = 0
  if over > 0 then retry = cost > burst and -1 or math.ceil(over / 1000) end
  return retry, int(nxt), function(st)
    local ahead = math.max(tonumber(st or '0'), us) - us
    local remaining = math.max(0, math.floor((burst * unit - ahead) / unit))
    local wait = 0
    if ahead ~= 0 then wait = ahead - (burst - remaining - 1) * unit end
    return remaining, math.ceil(ahead / 1000), math.ceil(math.max(0, wait) / 1000)
  end
end
local function fixed(limit, window, s, cost, now)
  local index = math.max(math.floor(now / window), tonumber(parts(s)[1] or '0'))
  local left = (index + 1) * window - now
  local function read(st)
    local n = parts(st)
    if tonumber(n[1]) == index then return tonumber(n[2]) end
    return 0
  end
  local nxt = math.max(0, read(s) + cost)
  local retry = 0
  if cost > 0 and nxt > limit then retry = cost > limit and -1 or left end
  return retry, int(index) .. ':' .. int(nxt), function(st)
    local count = read(st)
    local reset = count == 0 and 0 or left
    return math.max(0, limit - count), reset, reset
  end
end
local function sliding(limit, window, s, cost, now)
  local index = math.max(math.floor(now / window), tonumber(parts(s)[1] or '0'))
  local elapsed, lag = math.max(0, now - index * window), math.max(0, index * window - now)
  local function read(st)
    local n = parts(st)
    if tonumber(n[1]) == index then return tonumber(n[2]), tonumber(n[3]) end
    if tonumber(n[1]) == index - 1 then return 0, tonumber(n[2]) end
    return 0, 0
  end
  local function till(room, current, previous)
    if room < 0 then return -1 end
    if room >= current then
      local at = 0
      if previous ~= 0 then at = window - math.floor((room - current) * window / previous) end
      if at <= elapsed then return 0 end
      if at < window or room == current then return at - elapsed + lag end
    end
    return window - elapsed + math.max(0, window - math.floor(room * window / current)) + lag
  end
  local current, previous = read(s)
  local taken = math.max(0, current + cost)
  local retry = 0
  if cost > 0 then retry = till(limit - cost, current, previous) end
  return retry, int(index) .. ':' .. int(taken) .. ':' .. int(previous), function(st)
    local c, v = read(st)
    local used = c + math.ceil(v * (window - elapsed) / window)
    local remaining = math.max(0, limit - used)
    local more = 0
    if used ~= 0 then more = till(limit - remaining - 1, c, v) end
    return remaining, till(0, c, v), more
  end
end
local kinds = {g=gcra, f=fixed, s=sliding}
local sizes = {g=1, f=2, s=3}
local function decide(r, i, now, cost)
  if r and not sound(r) then return {e='corrupt'} end
  local blocked = math.max(0, tonumber(r and r.b or '0') - now)
  local allowed, list, n, ours = cost < 0 or blocked == 0, {}, 0, {x=true}
  while i[tostring(n)] do
    local kind, a, b, name = string.match(i[tostring(n)], '^(%w):(%d+):(%d+):(.*)$')
    local field = kind .. ':' .. name
    local state = r and r[field]
    if state and not sane(state, sizes[kind]) then return {e='corrupt'} end
    local retry, taken, view = kinds[kind](tonumber(a), tonumber(b), state, cost, now)
    if retry ~= 0 then allowed = false end
    n = n + 1
    list[n], ours[field] = {field=field, retry=retry, taken=taken, view=view}, true
  end
  local out, nxt, lasts = {a=allowed and '1' or '0'}, r or {}, 0
  if blocked > 0 then out.b = int(blocked) else nxt.b = nil end
  for n, p in ipairs(list) do
    if allowed and cost ~= 0 then nxt[p.field] = p.taken end
    local remaining, reset, more = p.view(nxt[p.field])
    lasts = math.max(lasts, reset)
    out[tostring(n - 1)] = int(remaining) .. ':' .. int(reset) .. ':' .. int(more) .. ':' .. int(p.retry)
  end
  if not allowed or cost == 0 then return out end
  if lasts == 0 then
    local alone = true
    for field in pairs(nxt) do alone = alone and ours[field] end
    if alone then return out, false end
  end
  local x = math.max(now + lasts, tonumber(nxt.x or '0'))
  nxt.x = int(x)
  return out, nxt, x
end
`;

/** By the name of the transition. */
export const throttleTwins: Readonly<Record<string, LuaTwin>> = {
  "throttle.check": {
    kind: "once",
    lua: DECIDE + `
local function apply(r, i, now) return decide(r, i, now, tonumber(i.c)) end`,
  },
  "throttle.peek": {
    kind: "read",
    lua: DECIDE + `
local function apply(r, i, now) return decide(r, i, now, 0) end`,
  },
  "throttle.block": {
    kind: "write",
    lua: SOUND + `
local function apply(r, i, now)
  if r and not sound(r) then return {e='corrupt'} end
  local b = now + tonumber(i.ms)
  local x = math.max(b, tonumber(r and r.x or '0'))
  r = r or {}
  r.b, r.x = int(b), int(x)
  return {}, r, x
end`,
  },
};

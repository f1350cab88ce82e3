/** The Lua twins of throttles; see `_lua.ts` for the rules. */
import type { LuaTwin } from "./_lua.ts";

const HELPERS = `
local function gcra(p, s, cost, now)
  local us = now * 1000
  local unit = math.ceil(p.window * 1000 / p.limit)
  local nxt = math.max(math.max(tonumber(s or '0'), us) + cost * unit, us)
  local over = 0
  if cost > 0 then over = nxt - p.burst * unit - us end
  local retry = 0
  if over > 0 then retry = cost > p.burst and -1 or math.ceil(over / 1000) end
  return retry, int(nxt), function(st)
    local ahead = math.max(tonumber(st or '0'), us) - us
    local remaining = math.max(0, math.floor((p.burst * unit - ahead) / unit))
    local wait = 0
    if ahead ~= 0 then wait = ahead - (p.burst - remaining - 1) * unit end
    return remaining, math.ceil(ahead / 1000), math.ceil(math.max(0, wait) / 1000)
  end
end
local function parts(s)
  local out = {}
  for n in string.gmatch(s or '', '[^:]+') do out[#out + 1] = tonumber(n) end
  return out
end
local function fixed(p, s, cost, now)
  local index = math.floor(now / p.window)
  local left = (index + 1) * p.window - now
  local function read(st) local n = parts(st) if n[1] == index then return n[2] end return 0 end
  local nxt = math.max(0, read(s) + cost)
  local retry = 0
  if cost > 0 and nxt > p.limit then retry = cost > p.limit and -1 or left end
  return retry, int(index) .. ':' .. int(nxt), function(st)
    local count = read(st)
    local reset = count == 0 and 0 or left
    return math.max(0, p.limit - count), reset, reset
  end
end
local function sliding(p, s, cost, now)
  local index = math.floor(now / p.window)
  local elapsed = now - index * p.window
  local function read(st)
    local n = parts(st)
    if n[1] == index then return n[2], n[3] end
    if n[1] == index - 1 then return 0, n[2] end
    return 0, 0
  end
  local function till(room, current, previous)
    if room < 0 then return -1 end
    if room >= current then
      local at = 0
      if previous ~= 0 then at = p.window - math.floor((room - current) * p.window / previous) end
      if at < p.window or room == current then return math.max(0, at - elapsed) end
    end
    return p.window - elapsed + math.max(0, p.window - math.floor(room * p.window / current))
  end
  local current, previous = read(s)
  local taken = math.max(0, current + cost)
  local retry = 0
  if cost > 0 then retry = till(p.limit - cost, current, previous) end
  return retry, int(index) .. ':' .. int(taken) .. ':' .. int(previous), function(st)
    local c, v = read(st)
    local used = c + math.ceil(v * (p.window - elapsed) / p.window)
    local remaining = math.max(0, p.limit - used)
    local nextAfter = 0
    if used ~= 0 then nextAfter = till(p.limit - remaining - 1, c, v) end
    return remaining, till(0, c, v), nextAfter
  end
end
local algorithms = {gcra=gcra, ['token-bucket']=gcra, ['fixed-window']=fixed, ['sliding-window']=sliding}
`;

/** By the name of the transition. */
export const throttleTwins: Readonly<Record<string, LuaTwin>> = {
  "throttle.check": {
    kind: "once",
    lua: HELPERS + `
local function apply(r, i, now)
  local cost, allowed, list = tonumber(i.cost), true, {}
  for n = 0, tonumber(i.n) - 1 do
    local p = {limit=tonumber(i[n .. '.limit']), window=tonumber(i[n .. '.window']), burst=tonumber(i[n .. '.burst'])}
    local field = 's:' .. i[n .. '.name']
    local retry, taken, view = algorithms[i[n .. '.algorithm']](p, r and r[field], cost, now)
    if retry ~= 0 then allowed = false end
    list[#list + 1] = {field=field, retry=retry, taken=taken, view=view}
  end
  local out, nxt, lasts = {allowed=allowed and '1' or '0'}, r or {}, 0
  for n, p in ipairs(list) do
    if allowed and cost ~= 0 then nxt[p.field] = p.taken end
    local remaining, reset, nextAfter = p.view(nxt[p.field])
    lasts = math.max(lasts, reset)
    local at = (n - 1) .. '.'
    out[at .. 'remaining'], out[at .. 'reset'] = int(remaining), int(reset)
    out[at .. 'next'], out[at .. 'retry'] = int(nextAfter), int(p.retry)
  end
  if not allowed or cost == 0 then return out end
  if lasts == 0 then return out, false end
  return out, nxt, now + lasts
end`,
  },
};

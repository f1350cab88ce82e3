/** The Lua twins of throttles; see `_lua.ts` for the rules. They are asked at every request, so they make few tables. */
import type { LuaTwin } from "./_lua.ts";

const SOUND = `
local function whole(v) return v and #v <= 16 and string.find(v, '^%d+$') end
`;

const DECIDE = SOUND + `
local max, floor, ceil, match = math.max, math.floor, math.ceil, string.match
local states = {g='^(%d+)$', f='^(%d+):(%d+)$', s='^(%d+):(%d+):(%d+)$'}
local function till(p, room, current, previous)
  if room < 0 then return -1 end
  local window, elapsed, lag = p.b, p.elapsed, p.lag
  if room >= current then
    local at = 0
    if previous ~= 0 then at = window - floor((room - current) * window / previous) end
    if at <= elapsed then return 0 end
    if at < window or room == current then return at - elapsed + lag end
  end
  return window - elapsed + max(0, window - floor(room * window / current)) + lag
end
-- What is left, when all is back, when one more is: of the state before (taken = false) or after.
local function view(p, taken, us)
  if p.kind == 'g' then
    local unit, burst, ahead = p.a, p.b, (taken and p.taken or p.current) - us
    local remaining = max(0, floor((burst * unit - ahead) / unit))
    local wait = 0
    if ahead ~= 0 then wait = max(0, ahead - (burst - remaining - 1) * unit) end
    return remaining, ceil(ahead / 1000), ceil(wait / 1000)
  end
  local current, limit = taken and p.taken or p.current, p.a
  if p.kind == 'f' then
    local reset = current == 0 and 0 or p.left
    return max(0, limit - current), reset, reset
  end
  local used = current + ceil(p.previous * (p.b - p.elapsed) / p.b)
  local remaining = max(0, limit - used)
  return remaining, till(p, 0, current, p.previous), used == 0 and 0 or till(p, limit - remaining - 1, current, p.previous)
end
local function rules(i)
  local list, n, rule = {}, 0, i['0']
  while rule do
    local kind, a, b, name = match(rule, '^(%w):(%d+):(%d+):(.*)$')
    n = n + 1
    list[n] = {kind=kind, a=tonumber(a), b=tonumber(b), field=kind .. ':' .. name, current=0, taken=0, previous=0, retry=0}
    rule = i[tostring(n)]
  end
  return list
end
local function decide(r, i, now, cost, list)
  if r and not (whole(r.x) and whole(r.b or '0')) then return {e='corrupt'} end
  local us, blocked = now * 1000, 0
  if r and r.b then blocked = max(0, tonumber(r.b) - now) end
  local again = r and r.i and i.i and string.find(',' .. r.i, ',' .. i.i .. ',', 1, true)
  local allowed = again or cost < 0 or blocked == 0
  for n = 1, #list do
    local p = list[n]
    local kind, a, b = p.kind, p.a, p.b
    local state, s1, s2, s3, retry = r and r[p.field], nil, nil, nil, 0
    if state then
      s1, s2, s3 = match(state, states[kind])
      if not s1 or #s1 > 16 or (s2 and #s2 > 16) or (s3 and #s3 > 16) then return {e='corrupt'} end
      s1, s2, s3 = tonumber(s1), tonumber(s2 or '0'), tonumber(s3 or '0')
    end
    if kind == 'g' then
      p.current = max(s1 or 0, us)
      p.taken = max(p.current + cost * a, us)
      local over = cost > 0 and p.taken - b * a - us or 0
      if over > 0 then retry = cost > b and -1 or ceil(over / 1000) end
    else
      local index = max(floor(now / b), s1 or 0)
      p.index, p.current, p.previous = index, 0, 0
      if s1 == index then p.current, p.previous = s2, s3
      elseif s1 == index - 1 then p.previous = s2 end
      p.taken = max(0, p.current + cost)
      if kind == 'f' then
        p.left = (index + 1) * b - now
        if cost > 0 and p.taken > a then retry = cost > a and -1 or p.left end
      else
        p.elapsed, p.lag = max(0, now - index * b), max(0, index * b - now)
        if cost > 0 then retry = till(p, a - cost, p.current, p.previous) end
      end
    end
    if retry ~= 0 and not again then allowed = false end
    p.retry = again and 0 or retry
  end
  local take, out, lasts = allowed and cost ~= 0 and not again, {a=allowed and '1' or '0', ['0']=''}, 0
  if blocked > 0 then out.b = int(blocked) end
  for n = 1, #list do
    local p = list[n]
    local remaining, reset, more = view(p, take, us)
    lasts = max(lasts, reset)
    out[tostring(n - 1)] = string.format('%d:%d:%d:%d', remaining, reset, more, p.retry)
  end
  if not take then return out end
  local nxt = r or {}
  if blocked == 0 then nxt.b = nil end
  for n = 1, #list do
    local p = list[n]
    if p.kind == 'g' then nxt[p.field] = int(p.taken)
    elseif p.kind == 'f' then nxt[p.field] = string.format('%d:%d', p.index, p.taken)
    else nxt[p.field] = string.format('%d:%d:%d', p.index, p.taken, p.previous) end
  end
  if lasts == 0 then
    local ours, alone = {x=true, i=true}, true
    for n = 1, #list do ours[list[n].field] = true end
    for field in pairs(nxt) do alone = alone and ours[field] end
    if alone then return out, false end
  end
  if i.i then
    local known = (r and r.i or '') .. i.i .. ','
    while #known > 64 do known = string.sub(known, string.find(known, ',', 1, true) + 1) end
    nxt.i = known
  end
  local x = ceil(max(now + lasts, tonumber(nxt.x or '0')) / 10000) * 10000
  nxt.x = int(x)
  return out, nxt, x
end
`;

/** By the name of the transition. */
export const throttleTwins: Readonly<Record<string, LuaTwin>> = {
  "throttle.check": {
    kind: "write",
    // No block, nothing stale: only the fields of these policies are read, and only those that change are written.
    fast: DECIDE + `
local function fast(i, now)
  if not i.i then return nil end
  local key, list, names, r = KEYS[1], rules(i), {'@', 'x', 'i', 'b'}, nil
  for n = 1, #list do names[n + 4] = list[n].field end
  local at = redis.call('HMGET', key, unpack(names))
  if at[4] or at[1] ~= at[2] or (at[1] and now >= tonumber(at[1])) then return nil end
  if at[1] then
    r = {x=at[2], i=at[3] or nil}
    for n = 1, #list do r[names[n + 4]] = at[n + 4] or nil end
  elseif redis.call('EXISTS', key) == 1 then return nil end
  local out, nxt, x = decide(r, i, now, tonumber(i.c), list)
  if out.e or nxt == false then return nil end
  if nxt then
    local set = {'i', nxt.i}
    for n = 1, #list do set[2 * n + 1], set[2 * n + 2] = names[n + 4], nxt[names[n + 4]] end
    local moved = nxt.x ~= at[1]
    if moved then for _, name in ipairs({'x', '@'}) do set[#set + 1] = name set[#set + 1] = nxt.x end end
    redis.call('HSET', key, unpack(set))
    if moved and ARGV[1] == '' then redis.call('PEXPIREAT', key, nxt.x) end
  end
  local reply = '~["a","' .. out.a .. '"'
  for n = 0, #list - 1 do reply = reply .. ',"' .. n .. '","' .. out[tostring(n)] .. '"' end
  return reply .. ']'
end`,
    lua: `
local function apply(r, i, now) return decide(r, i, now, tonumber(i.c), rules(i)) end`,
  },
  "throttle.peek": {
    kind: "read",
    lua: DECIDE + `
local function apply(r, i, now) return decide(r, i, now, 0, rules(i)) end`,
  },
  "throttle.block": {
    kind: "write",
    lua: SOUND + `
local function apply(r, i, now)
  if r and not (whole(r.x) and whole(r.b or '0')) then return {e='corrupt'} end
  local b = now + tonumber(i.ms)
  local x = math.max(b, tonumber(r and r.x or '0'))
  r = r or {}
  r.b, r.x = int(b), int(x)
  return {}, r, x
end`,
  },
};

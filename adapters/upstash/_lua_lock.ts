/** The Lua twins of locks; see `_lua.ts` for the rules and `src/lock/lock_transitions.ts` for the record. */
import type { LuaTwin } from "./_lua.ts";

const BOOK = `
local function open(r, now)
  local b = {f=tonumber(r and r.f or '0'), x=tonumber(r and r.x or '0'), h={}, n=0, q={}}
  for name, value in pairs(r or {}) do
    local kind, a, c, limit, d = value:match('^([hq]) (%d+) (%d+) (%d+) (%d+)$')
    if kind and name:sub(1, 1) == 'p' then
      local owner = name:sub(2)
      a, c, limit, d = tonumber(a), tonumber(c), tonumber(limit), tonumber(d)
      if kind == 'q' then
        if now < c then table.insert(b.q, {owner=owner, number=a, till=c, limit=limit, first=d}) end
      elseif now < a + d then
        b.h[owner] = {till=a, fence=c, limit=limit, delay=d}
        b.n = b.n + 1
      else b.x = math.max(b.x, c) end
    end
  end
  table.sort(b.q, function(s, t) return s.number < t.number end)
  return b
end
local function close(b, now)
  if b.q[1] then b.q[1].first = 1 end
  local r, last = {f=int(b.f), x=int(b.x)}, now
  for o, h in pairs(b.h) do
    r['p' .. o] = table.concat({'h', int(h.till), int(h.fence), int(h.limit), int(h.delay)}, ' ')
    last = math.max(last, h.till + h.delay)
  end
  for _, t in ipairs(b.q) do
    r['p' .. t.owner] = table.concat({'q', int(t.number), int(t.till), int(t.limit), int(t.first)}, ' ')
    last = math.max(last, t.till)
  end
  return r, math.ceil((last + 86400000) / 3600000) * 3600000
end
local function fits(b, limit)
  if b.n == 0 then return true end
  if b.n >= limit then return false end
  for _, h in pairs(b.h) do if h.limit <= 1 then return false end end
  return true
end
local function grant(b, owner, till, limit, now)
  local fence = math.max(b.f + 1, now * 1000)
  if b.f == 0 then b.x = fence - 1 end
  b.f, b.n = fence, b.n + 1
  b.h[owner] = {till=till, fence=fence, limit=limit, delay=0}
  return b.h[owner]
end
local function remove(b, owner) b.h[owner], b.n = nil, b.n - 1 end
local function drop(b, owner)
  b.x = math.max(b.x, b.h[owner].fence)
  remove(b, owner)
end
local function serve(b, now)
  local served = false
  while b.q[1] and fits(b, b.q[1].limit) do
    local t = table.remove(b.q, 1)
    grant(b, t.owner, now + 1000, t.limit, now)
    served = true
  end
  return served
end
local function place(b, owner)
  for n, t in ipairs(b.q) do if t.owner == owner then return n end end
end
`;

const ENQUEUE = `
local function enqueue(b, owner, wait, limit, now)
  if not wait then return false end
  local till, n = now + math.min(tonumber(wait), 15000), place(b, owner)
  if n then
    if till - b.q[n].till < 4000 then return false end
    b.q[n].till = till
    return true
  end
  if #b.q >= 256 then return false end
  table.insert(b.q, {owner=owner, number=(b.q[1] and b.q[#b.q].number or 0) + 1, till=till, limit=limit, first=0})
  return true
end
`;

/**
 * The usual cases: nothing is there, or three fields (nobody has the lock and nobody waits), or a fourth, of the one that has it.
 * Then at most one command changes the record, and little needs to be taken apart. Here the caller has it.
 */
const MINE = `
local key, me = KEYS[1], 'p' .. ARGV[1]
if redis.call('HLEN', key) ~= 4 then break end
local found = redis.call('HMGET', key, '@', me)
local deadline = tonumber(found[1])
if not deadline or now >= deadline then break end
local till, rest = string.match(found[2] or '', '^h (%d+)( .*)$')
if not till or now >= tonumber(till) then break end
`;

/** The record is there for a day after `last`. */
const KEEP = `
local ends = math.ceil((last + 86400000) / 3600000) * 3600000
if ends ~= deadline then
  ends = int(ends)
  redis.call('HSET', key, '@', ends)
  if not virtual then redis.call('PEXPIREAT', key, ends) end
end
`;

/** By the name of the transition. */
export const lockTwins: Readonly<Record<string, LuaTwin>> = {
  "lock.acquire": {
    kind: "write",
    fields: ["owner", "ttl", "limit", "delay", "wait", "from"],
    fast: `
if ARGV[3] then break end
local key, me, last, nxt, deadline, holder = KEYS[1], 'p' .. ARGV[1], now + tonumber(ARGV[2]), now * 1000, nil, nil
local count = redis.call('HLEN', key)
if count == 3 then
  local found = redis.call('HMGET', key, '@', 'f', 'x')
  local fence = tonumber(found[2])
  deadline = tonumber(found[1])
  if not (deadline and fence and found[3]) or now >= deadline then break end
  if nxt <= fence then nxt = fence + 1 end
elseif count == 4 then
  local flat, remaining = redis.call('HGETALL', key), 0
  for n = 1, 8, 2 do
    if flat[n] == '@' then deadline = tonumber(flat[n + 1]) end
    local till, delay = string.match(flat[n + 1], '^h (%d+) %d+ %d+ (%d+)$')
    if till and flat[n] ~= me then remaining = till + delay - now end
  end
  if not deadline or now >= deadline or remaining <= 0 then break end
  return remaining
elseif count ~= 0 then break end
holder = string.format('h %d %d 1 0', last, nxt)
if count == 3 then redis.call('HSET', key, 'f', int(nxt), me, holder)
else redis.call('HSET', key, 'f', int(nxt), me, holder, 'x', int(nxt - 1)) end
${KEEP}
return {nxt, last}`,
    output: ([first, e]) =>
      e === undefined ? { remaining: String(first) } : { fence: String(first), e: String(e) },
    lua: BOOK + ENQUEUE + `
local function apply(r, i, now)
  local b, limit = open(r, now), tonumber(i.limit or '1')
  local mine = b.h[i.owner]
  if mine and now >= mine.till then
    drop(b, i.owner)
    mine = nil
  end
  if i.from and not mine then
    local giver = b.h[i.from]
    if not giver or now >= giver.till then return {} end
    drop(b, i.from)
    mine = grant(b, i.owner, now, giver.limit, now)
    mine.delay = giver.delay
  end
  local served = serve(b, now)
  mine = mine or b.h[i.owner]
  if not mine and not b.q[1] and fits(b, limit) then mine = grant(b, i.owner, now, limit, now) end
  if mine then
    mine.till = now + tonumber(i.ttl)
    if not i.from then mine.delay = tonumber(i.delay or '0') end
    return {fence=int(mine.fence), e=int(mine.till)}, close(b, now)
  end
  local joined, free = enqueue(b, i.owner, i.wait, limit, now), math.huge
  for _, h in pairs(b.h) do free = math.min(free, h.till + h.delay) end
  local out, n = {remaining=int(free - now)}, place(b, i.owner)
  if n then out.ahead = int(n - 1) end
  if served or joined then return out, close(b, now) end
  return out
end`,
  },
  "lock.extend": {
    kind: "write",
    fields: ["owner", "ttl"],
    fast: `
${MINE}
local till = now + tonumber(ARGV[2])
redis.call('HSET', key, me, 'h ' .. int(till) .. rest)
local last = till + tonumber(string.match(rest, '(%d+)$'))
${KEEP}
return till`,
    output: ([e]) => ({ e: String(e) }),
    lua: BOOK + `
local function apply(r, i, now)
  local b = open(r, now)
  local mine = b.h[i.owner]
  if not mine or now >= mine.till then return {} end
  mine.till = now + tonumber(i.ttl)
  return {e=int(mine.till)}, close(b, now)
end`,
  },
  "lock.release": {
    kind: "write",
    fields: ["owner", "fence"],
    fast: `
${MINE}
redis.call('HDEL', key, me)
local last = now
${KEEP}
return 1`,
    output: () => ({ result: "released" }),
    lua: BOOK + `
local function apply(r, i, now)
  if not r then return {result='expired'} end
  local b, fence = open(r, now), i.fence and tonumber(i.fence)
  local mine, n = b.h[i.owner], place(b, i.owner)
  local live = mine and now < mine.till
  local known = mine or n
  if live then remove(b, i.owner) elseif mine then drop(b, i.owner) elseif n then table.remove(b.q, n) end
  if known then serve(b, now) end
  local result = 'expired'
  if live or (not known and fence and fence > b.x) then result = 'released'
  elseif fence and fence ~= b.f then result = 'overtaken' end
  if not known then return {result=result} end
  return {result=result}, close(b, now)
end`,
  },
  "lock.force": {
    kind: "write",
    lua: BOOK + `
local function apply(r, i, now)
  local b, gone = open(r, now), {}
  for o, h in pairs(b.h) do if h.fence <= tonumber(i.fence) then table.insert(gone, o) end end
  if #gone == 0 then return {count='0'} end
  for _, o in ipairs(gone) do drop(b, o) end
  serve(b, now)
  return {count=int(#gone)}, close(b, now)
end`,
  },
  "lock.inspect": {
    kind: "read",
    lua: BOOK + `
local function apply(r, i, now)
  if not r then return {} end
  local b, held, last = open(r, now), 0, now
  for _, h in pairs(b.h) do
    if now < h.till then held = held + 1 end
    last = math.max(last, h.till + h.delay)
  end
  return {f=int(b.f), held=int(held), waiting=int(#b.q), remaining=int(last - now)}
end`,
  },
};

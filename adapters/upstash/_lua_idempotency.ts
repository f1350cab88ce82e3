/** The Lua twins of idempotency; see `_lua.ts` for the rules. */
import { type LuaTwin, WHOLE } from "./_lua.ts";

const HELPERS = WHOLE + `
local function sound(r)
  return r.o and r.fp and whole(r.a) and whole(r.x) and (r.s == 'c' or (r.s == 'p' and whole(r.l)))
end
local function keep(r, out) return out, r, tonumber(r.x) end
`;

/** By the name of the transition. */
export const idempotencyTwins: Readonly<Record<string, LuaTwin>> = {
  "idempotency.begin": {
    kind: "write",
    fields: ["o", "l", "t", "fp"],
    // Nobody has begun.
    fast: `
local key = KEYS[1]
if redis.call('EXISTS', key) == 1 then break end
local ends, x = now + tonumber(ARGV[2]), now + tonumber(ARGV[3])
x = int(math.max(x, ends))
redis.call('HSET', key, 's', 'p', 'o', ARGV[1], 'fp', ARGV[4] or '', 'l', int(ends), 'a', '1', 'x', x, '@', x)
if not virtual then redis.call('PEXPIREAT', key, x) end
return 1`,
    output: ([attempt]) => ({ s: "new", a: String(attempt) }),
    lua: HELPERS + `
local function apply(r, i, now)
  local attempt, fp = 1, i.fp or ''
  if r then
    if not sound(r) then return {s='corrupt'} end
    if r.fp ~= fp then return {s='mismatch'} end
    if r.s == 'c' then return {s='done', a=r.a, r=r.r} end
    if r.o ~= i.o and now < tonumber(r.l) then return {s='busy', ms=int(tonumber(r.l) - now)} end
    attempt = tonumber(r.a) + (r.o == i.o and 0 or 1)
  end
  local ends = now + tonumber(i.l)
  local x = math.max(r and tonumber(r.x) or now + tonumber(i.t), ends)
  return keep({s='p', o=i.o, fp=fp, l=int(ends), a=int(attempt), x=int(x)}, {s='new', a=int(attempt)})
end`,
  },
  "idempotency.complete": {
    kind: "write",
    fields: ["o", "a", "t", "fp"],
    // Whoever completes it is at it, and nothing else is in the record.
    fast: `
local key, match = KEYS[1], string.match
if redis.call('HLEN', key) ~= 7 then break end
local found = redis.call('HMGET', key, 's', 'o', '@', 'l', 'a', 'x', 'fp')
if found[1] ~= 'p' or found[2] ~= ARGV[1] or not found[7] then break end
local sound = true
for n = 3, 6 do sound = sound and found[n] and #found[n] <= 16 and match(found[n], '^%d+$') end
if not sound or now >= tonumber(found[3]) then break end
local x = int(now + tonumber(ARGV[3]))
redis.call('HSET', key, 's', 'c', 'fp', ARGV[4] or '', 'a', ARGV[2], 'x', x, '@', x, unpack(ARGV, 5))
redis.call('HDEL', key, 'l')
if not virtual then redis.call('PEXPIREAT', key, x) end
return 1`,
    output: () => ({ s: "stored" }),
    lua: HELPERS + `
local function apply(r, i, now)
  if r then
    if not sound(r) then return {s='corrupt'} end
    if r.o ~= i.o then
      if r.s == 'p' then return {s='overtaken'} end
      return {s='superseded', r=r.r}
    end
    if r.s == 'c' then return {s='stored'} end
  end
  return keep({s='c', o=i.o, fp=i.fp or '', r=i.r, a=i.a, x=int(now + tonumber(i.t))}, {s='stored'})
end`,
  },
  "idempotency.abandon": {
    kind: "write",
    fields: ["o"],
    lua: HELPERS + `
local function apply(r, i)
  if not r then return {s='free'} end
  if not sound(r) then return {s='corrupt'} end
  if r.s ~= 'p' or r.o ~= i.o then return {s='lost'} end
  return {s='free'}, false
end`,
  },
  "idempotency.extend": {
    kind: "write",
    fields: ["o", "l"],
    lua: HELPERS + `
local function apply(r, i, now)
  if r and not sound(r) then return {s='corrupt'} end
  if not r or r.s ~= 'p' or r.o ~= i.o then return {s='lost'} end
  local ends = now + tonumber(i.l)
  r.l, r.x = int(ends), int(math.max(tonumber(r.x), ends))
  return keep(r, {s='held'})
end`,
  },
  "idempotency.read": {
    kind: "read",
    lua: HELPERS + `
local function apply(r)
  if not r then return {} end
  if not sound(r) then return {s='corrupt'} end
  if r.s == 'p' then return {s='busy', a=r.a} end
  return {s='done', a=r.a, r=r.r}
end`,
  },
};

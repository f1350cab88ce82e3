/** The Lua twins of idempotency; see `_lua.ts` for the rules. */
import type { LuaTwin } from "./_lua.ts";

const HELPERS = `
local function keep(r, out) return out, r, tonumber(r.x) end
`;

/** By the name of the transition. */
export const idempotencyTwins: Readonly<Record<string, LuaTwin>> = {
  "idempotency.begin": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  local attempt = 1
  if r then
    if r.s ~= 'p' and r.s ~= 'c' then return {state='corrupt'} end
    if r.fp ~= i.fp then return {state='mismatch'} end
    if r.s == 'c' then return {state='completed', r=r.r, a=r.a} end
    if r.o ~= i.owner and now < tonumber(r.l) then return {state='in-progress', remaining=int(tonumber(r.l) - now)} end
    attempt = tonumber(r.a) + (r.o == i.owner and 0 or 1)
  end
  local l = now + tonumber(i.lease)
  local x = math.max(r and tonumber(r.x) or now + tonumber(i.retention), l)
  return keep({s='p', o=i.owner, fp=i.fp, l=int(l), a=int(attempt), x=int(x)}, {state='new', a=int(attempt)})
end`,
  },
  "idempotency.complete": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  if r and r.o ~= i.owner then return {state='superseded', r=r.s == 'c' and r.r or nil} end
  if r and r.s == 'c' then return {state='stored'} end
  local x = now + tonumber(i.retention)
  return keep({s='c', o=i.owner, fp=i.fp, r=i.r, a=i.attempt, x=int(x)}, {state='stored'})
end`,
  },
  "idempotency.abandon": {
    kind: "once",
    lua: `
local function apply(r, i)
  if not r or r.s ~= 'p' or r.o ~= i.owner then return {done='0'} end
  return {done='1'}, false
end`,
  },
  "idempotency.extend": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  if not r or r.s ~= 'p' or r.o ~= i.owner then return {done='0'} end
  local l = now + tonumber(i.lease)
  r.l = int(l)
  r.x = int(math.max(tonumber(r.x), l))
  return keep(r, {done='1'})
end`,
  },
  "idempotency.read": {
    kind: "read",
    lua: `
local function apply(r)
  if not r then return {} end
  if r.s ~= 'p' and r.s ~= 'c' then return {s='corrupt'} end
  return {s=r.s, a=r.a, r=r.s == 'c' and r.r or nil}
end`,
  },
};

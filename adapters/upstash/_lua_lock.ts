/** The Lua twins of locks; see `_lua.ts` for the rules. */
import type { LuaTwin } from "./_lua.ts";

const HELPERS = `
local function held(r, now) return r and r.o and now < tonumber(r.e) end
local function hold(o, f, till) return {fence=f, e=int(till)}, {f=f, o=o, e=int(till)}, till + 86400000 end
`;

/** By the name of the transition. */
export const lockTwins: Readonly<Record<string, LuaTwin>> = {
  "lock.acquire": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  local till = now + tonumber(i.ttl)
  if held(r, now) then
    if r.o == i.owner then return hold(i.owner, r.f, till) end
    return {remaining=int(tonumber(r.e) - now)}
  end
  return hold(i.owner, int(math.max(tonumber(r and r.f or '0') + 1, now * 1000)), till)
end`,
  },
  "lock.extend": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  if not held(r, now) or r.o ~= i.owner then return {} end
  return hold(i.owner, r.f, now + tonumber(i.ttl))
end`,
  },
  "lock.release": {
    kind: "once",
    lua: HELPERS + `
local function apply(r, i, now)
  if r and r.o == i.owner then
    return {result=held(r, now) and 'released' or 'expired'}, {f=r.f}, now + 86400000
  end
  return {result=(not r or r.f == i.fence) and 'expired' or 'overtaken'}
end`,
  },
  "lock.inspect": {
    kind: "read",
    lua: HELPERS + `
local function apply(r, i, now)
  if not r or not r.f then return {} end
  if not held(r, now) then return {f=r.f} end
  return {f=r.f, remaining=int(tonumber(r.e) - now)}
end`,
  },
};

/** The Lua twins of sessions; see `_lua.ts` for the rules. */
import type { LuaTwin } from "./_lua.ts";

const HELPERS = `
local function alive(r, i, now)
  return r and r.h and now < tonumber(r.t) + tonumber(i.idle) and now < tonumber(r.c) + tonumber(i.absolute)
end
local function kept(r, i, now) return r, math.min(now + tonumber(i.idle), tonumber(r.c) + tonumber(i.absolute)) end
local function values(i, r)
  for k, v in pairs(i) do local p = string.sub(k, 1, 2) if p == 'd:' or p == 'f:' then r[k] = v end end
  return r
end
`;

/** By the name of the transition. */
export const sessionTwins: Readonly<Record<string, LuaTwin>> = {
  "session.load": {
    kind: "read",
    lua: HELPERS + `
local function apply(r, i, now) return alive(r, i, now) and r or {} end`,
  },
  "session.create": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  if r then return {done=r.h == i.h and '1' or '0', c=r.c or '0'} end
  local n = values(i, {h=i.h, c=i.c or int(now), t=int(now), u=i.u})
  if i.a then n.a = i.a == 'now' and int(now) or i.a end
  return {done='1', c=n.c}, kept(n, i, now)
end`,
  },
  "session.commit": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  if not alive(r, i, now) then return {done='0'} end
  values(i, r).t = int(math.max(now, tonumber(r.t)))
  for k in pairs(i) do if string.sub(k, 1, 2) == 'x:' then r[string.sub(k, 3)] = nil end end
  return {done='1'}, kept(r, i, now)
end`,
  },
  "session.claim": {
    kind: "once",
    lua: HELPERS + `
local function apply(r, i, now)
  if not r then return {} end
  return alive(r, i, now) and r or {}, false
end`,
  },
  "session.index": {
    kind: "write",
    lua: `
local function apply(r, i, now)
  local n, last = {}, 0
  for k, v in pairs(r or {}) do
    local till = tonumber(string.match(v, '([^:]*)$'))
    if k ~= 'h:' .. (i.remove or 'undefined') and now < till then n[k] = v last = math.max(last, till) end
  end
  if i.add then n['h:' .. i.add] = i.entry .. ':' .. i.expires last = math.max(last, tonumber(i.expires)) end
  if not i.add and not i.remove then return n end
  if last == 0 then return n, false end
  return n, n, last
end`,
  },
};

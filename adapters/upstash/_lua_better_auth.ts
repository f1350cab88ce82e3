/** The Lua twins of what is under better-auth; see `_lua.ts` for the rules. */
import type { LuaTwin } from "./_lua.ts";

const NUM = `
local function num(s) return tonumber(s or '') or 0 end
`;

const INDEX = `
local function num(s) return tonumber(string.match(s or '', '^[^:]*')) or 0 end
local function alive(r, now)
  local n = {}
  for k, v in pairs(r or {}) do if now < num(v) then n[k] = v end end
  return n
end
local function kept(r)
  local last = 0
  for _, v in pairs(r) do last = math.max(last, num(v)) end
  if last == 0 then return false end
  return r, last
end
`;

/** By the name of the transition. */
export const betterAuthTwins: Readonly<Record<string, LuaTwin>> = {
  "better-auth.token.get": {
    kind: "read",
    lua: `
local function apply(r) return {v=r and r.v} end`,
  },
  "better-auth.token.set": {
    kind: "write",
    lua: NUM + `
local function apply(r, i, now)
  if r and r.g then return {done='0'} end
  if not i.ttl then return {done='1'}, {v=i.v} end
  local e = now + num(i.ttl)
  return {done='1'}, {v=i.v, e=int(e)}, e
end`,
  },
  "better-auth.token.end": {
    kind: "write",
    lua: NUM + `
local function apply(r, i, now)
  if r and r.g then return {} end
  return {v=r and r.v}, {g='1'}, math.max(now + num(i.keep), num(r and r.e))
end`,
  },
  "better-auth.index.read": {
    kind: "read",
    lua: INDEX + `
local function apply(r, i, now)
  local out = {}
  for k, v in pairs(alive(r, now)) do if string.sub(k, 1, 2) == 't:' then out[k] = v end end
  return out
end`,
  },
  "better-auth.index.merge": {
    kind: "write",
    lua: INDEX + `
local function apply(r, i, now)
  local n = alive(r, now)
  for k, v in pairs(alive(i, now)) do
    if string.sub(k, 1, 2) == 't:' and not n['x:' .. string.sub(k, 3)] then n[k] = v end
  end
  return {}, kept(n)
end`,
  },
  "better-auth.index.remove": {
    kind: "write",
    lua: INDEX + `
local function apply(r, i, now)
  local n = alive(r, now)
  n['x:' .. i.token] = int(math.max(now + num(i.keep), num(n['t:' .. i.token]), num(n['x:' .. i.token])))
  n['t:' .. i.token] = nil
  return {}, kept(n)
end`,
  },
};

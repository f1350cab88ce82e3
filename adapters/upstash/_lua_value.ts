/** The Lua twins of plain values; see `_lua.ts` for the rules. */
import { type LuaTwin, UNLESS_DONE } from "./_lua.ts";

const HELPERS = `
local function value(v, ttl, now)
  if not ttl then return {v=v} end
  local e = now + tonumber(ttl)
  return {v=v, e=int(e)}, e
end
local function current(r, out) if r then out.v = r.v or '\\0' end return out end
`;

/** By the name of the transition. */
export const valueTwins: Readonly<Record<string, LuaTwin>> = {
  "value.get": { kind: "read", lua: HELPERS + `local function apply(r) return current(r, {}) end` },
  "value.set": {
    kind: "write",
    fields: ["ttl"],
    // Any record is replaced, whatever it is. The key of another program is an error at HLEN, before anything
    // is written.
    fast: `
if ARGV[2] ~= 'v' or ARGV[4] then break end
local key, memory, ttl = KEYS[1], KEYS[2], tonumber(ARGV[1])
local there = redis.call('HLEN', key) > 0
${UNLESS_DONE}
if there then redis.call('DEL', key) end
if ttl then
  local e = int(now + ttl)
  redis.call('HSET', key, 'v', ARGV[3], 'e', e, '@', e)
  if not virtual then redis.call('PEXPIREAT', key, e) end
else redis.call('HSET', key, 'v', ARGV[3]) end
return 1`,
    fastRemembers: true,
    output: () => ({}),
    lua: HELPERS + `local function apply(r, i, now) return {}, value(i.v, i.ttl, now) end`,
  },
  "value.take": {
    kind: "write",
    lua: HELPERS + `
local function apply(r)
  if not r then return {} end
  return current(r, {}), false
end`,
  },
  "value.touch": {
    kind: "write",
    lua: `
local function apply(r, i, now)
  if not r then return {done='0'} end
  local e = now + tonumber(i.ttl)
  r.e = int(e)
  return {done='1'}, r, e
end`,
  },
  "value.replace": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  if (r and r.v or nil) ~= i.expected then return current(r, {done='0'}) end
  return {done='1'}, value(i.v, i.ttl, now)
end`,
  },
  "value.remove": {
    kind: "write",
    lua: `
local function apply(r, i)
  if not r or r.v ~= i.expected then return {done='0'} end
  return {done='1'}, false
end`,
  },
  "value.increment": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  if not r then
    local w, e = value('\\t' .. i.by, i.ttl, now)
    return {n=i.by, e=w.e}, w, e
  end
  local digits = string.match(r.v or '', '^\\t(%-?%d+)$')
  if not digits or #(string.gsub(digits, '-', '')) > 16 then return {error='not-an-integer'} end
  local sum = tonumber(digits) + tonumber(i.by)
  if sum > 9007199254740991 or sum < -9007199254740991 then return {error='not-an-integer'} end
  r.v = '\\t' .. int(sum)
  return {n=int(sum), e=r.e}, r, tonumber(r.e)
end`,
  },
};

/** The Lua twins of sessions; see `_lua.ts` for the rules. */
import type { LuaTwin } from "./_lua.ts";

const SESSION = `
local function num(s) return tonumber(s or '') or 0 end
local function expiry(r) return math.min(num(r.t) + num(r.i), num(r.x)) end
local function gone(r, now)
  if not r or not r.h then return {} end
  if r.g then return {g=r.g} end
  if now < expiry(r) then return nil end
  return {g='expired'}
end
local function kept(r, i) return r, expiry(r) + num(i.keep) end
local function values(i, r)
  for k, v in pairs(i) do local p = string.sub(k, 1, 2) if p == 'd:' or p == 'f:' then r[k] = v end end
  return r
end
local function answer(done, r)
  local out = {done=done}
  for k, v in pairs(r or {}) do out[k] = v end
  return out
end
`;

const COMMIT = SESSION + `
local function apply(r, i, now)
  local ended = gone(r, now)
  if ended then return answer('0', ended) end
  if i.v and num(r.s) > num(i.v) or i['if'] and i['if'] ~= r.n then return answer('2', r) end
  values(i, r)
  r.n = int(num(r.n) + 1)
  r.t = int(math.max(now, num(r.t)))
  for k in pairs(i) do
    local p = string.sub(k, 1, 4)
    if p == 'x:d:' or p == 'x:f:' then r[string.sub(k, 3)] = nil end
  end
  if i.s and num(i.s) > num(r.s) then r.s = i.s end
  if i.k then r.k = r.t end
  return answer('1', r), kept(r, i)
end`;

const USER = `
local function num(s) return tonumber(s or '') or 0 end
local function entry(k) return string.sub(k, 1, 2) == 'h:' end
local function till(v) return num(string.match(v, '([^:]*)$')) end
local function pruned(r, handle, now)
  local n = {}
  for k, v in pairs(r or {}) do
    if not entry(k) or (k ~= 'h:' .. (handle or 'undefined') and now < till(v)) then n[k] = v end
  end
  n.n = int(num(r and r.n) + 1)
  return n
end
local function listed(r, now)
  local last = num(r.p)
  for k, v in pairs(r) do if entry(k) then last = math.max(last, till(v)) end end
  if last > now then return r, last end
  return false
end
`;

const SEALED = `
local function num(s) return tonumber(s or '') or 0 end
local function current(r, i) return r and r.current or i.first and i.from or nil end
`;

/** By the name of the transition. */
export const sessionTwins: Readonly<Record<string, LuaTwin>> = {
  "session.load": {
    kind: "read",
    lua: SESSION + `
local function apply(r, i, now)
  local ended = gone(r, now)
  if ended and ended.g then ended.next = r.next end
  return ended or r
end`,
  },
  "session.create": {
    kind: "write",
    lua: SESSION + `
local function apply(r, i, now)
  if r then
    local ended = gone(r, now)
    if not ended and r.h == i.h then return answer('1', r) end
    return {done='0', g=ended and ended.g or 'revoked'}
  end
  local at = int(now)
  local n = values(i, {h=i.h, n='1', c=i.c or at, t=at, k=at, b=i.b or at, i=i.i, s=i.s, u=i.u})
  n.x = i.x or int(now + num(i.life))
  if i.a then n.a = i.a == 'now' and at or i.a end
  if now >= expiry(n) then return {done='0', g='expired'} end
  return answer('1', n), kept(n, i)
end`,
  },
  "session.commit": { kind: "write", lua: COMMIT },
  "session.replace": { kind: "write", lua: COMMIT },
  "session.end": {
    kind: "write",
    lua: SESSION + `
local function apply(r, i, now)
  local ended = gone(r, now)
  if ended and (ended.g or not i.bury) then return {} end
  if i.forget then
    if ended then return {} end
    return answer(nil, r), false
  end
  local tombstone = {h=r and r.h or '', n=int(num(r and r.n) + 1), g=i.why, next=i.next}
  local stays = now + num(i.keep)
  if i.lasting and r then stays = math.max(stays, num(r.x)) end
  return ended and {} or answer(nil, r), tombstone, stays
end`,
  },
  "session.put": {
    kind: "write",
    lua: SESSION + `
local function apply(r, i, now)
  if r and r.g then return {done='0', g=r.g} end
  local there = r and r.h
  if i['if'] and not there then return {done='0'} end
  local outdated = there and (num(r.n) > num(i.n) or (not i['if'] and num(r.n) == num(i.n)))
  if there and (outdated or (i['if'] or r.n) ~= r.n) then return answer('2', r) end
  if now >= expiry(i) then return {done='0', g='expired'} end
  local copy = {}
  for k, v in pairs(i) do if k ~= 'keep' and k ~= 'if' then copy[k] = v end end
  return {done='1'}, kept(copy, i)
end`,
  },
  "session.user.read": {
    kind: "read",
    lua: `local function apply(r, i, now) return r or {} end`,
  },
  "session.user.add": {
    kind: "write",
    lua: USER + `
local function apply(r, i, now)
  local epoch = num(r and r.e)
  if i.b and num(i.b) < epoch and not (i.from and i.from == r.y) then return {done='0'} end
  local n, others, count = pruned(r, i.handle, now), {done='2'}, 0
  for k, v in pairs(n) do
    if entry(k) and k ~= 'h:' .. (i.from or 'undefined') then others[k] = v count = count + 1 end
  end
  if i.limit and count >= num(i.limit) then return others end
  n['h:' .. i.handle] = i.key .. ':' .. int(now) .. ':' .. i.ends
  return {done='1', b=int(math.max(i.b and num(i.b) or now, epoch))}, listed(n, now)
end`,
  },
  "session.user.remove": {
    kind: "write",
    lua: USER + `
local function apply(r, i, now)
  if not r or not r['h:' .. i.handle] then return {} end
  return {}, listed(pruned(r, i.handle, now), now)
end`,
  },
  "session.user.revoke": {
    kind: "write",
    lua: USER + `
local function apply(r, i, now)
  if i.epoch and num(i.epoch) <= num(r and r.e) then return r or {} end
  local n = pruned(r, nil, now)
  n.e = i.epoch or int(math.max(now, num(n.e)) + 1)
  n.p = int(math.max(now + num(i.remember), num(n.p)))
  n.y = i.except
  return n, listed(n, now)
end`,
  },
  "session.sealed.read": {
    kind: "read",
    lua: SEALED + `
local function apply(r, i, now)
  if not r then return {} end
  local idle = r.touched and int(math.max(0, now - num(r.touched)))
  return {current=r.current, ended=r.ended, idle=idle}
end`,
  },
  "session.sealed.rotate": {
    kind: "write",
    lua: SEALED + `
local function apply(r, i, now)
  if r and r.ended then return {done='0', ended=r.ended} end
  local current = current(r, i)
  if current == i.to then return {done='1'} end
  if current ~= i.from then return {done='0', ended='rotated'} end
  return {done='1'}, {current=i.to, touched=int(now)}, now + num(i.keep)
end`,
  },
  "session.sealed.touch": {
    kind: "write",
    lua: SEALED + `
local function apply(r, i, now)
  if r and r.ended then return {done='0', ended=r.ended} end
  if current(r, i) ~= i.from then return {done='0', ended='rotated'} end
  local touched = int(math.max(now, num(r and r.touched)))
  return {done='1'}, {current=i.from, touched=touched}, now + num(i.keep)
end`,
  },
  "session.sealed.end": {
    kind: "write",
    lua: SEALED + `
local function apply(r, i, now)
  return {}, {ended=r and r.ended or i.why}, now + num(i.keep)
end`,
  },
};

/** The Lua twins of the outbox; see `_lua.ts` for the rules. */
import type { LuaTwin } from "./_lua.ts";

const HELPERS = `
local function entry(v)
  local s, t, a, k, b, o, x, c = string.match(v, '^(%a):(%d+):(%d+):(%d+):(%d+):([^:]*):(%d+):(.*)$')
  return {s=s, t=tonumber(t), a=tonumber(a), k=tonumber(k), b=tonumber(b), o=o, x=tonumber(x), c=c}
end
local function text(e)
  return table.concat({e.s, int(e.t), int(e.a), int(e.k), int(e.b), e.o, int(e.x), e.c}, ':')
end
local function bucket(out, r) return out, next(r) and r or false end
`;

/** By the name of the transition. */
export const outboxTwins: Readonly<Record<string, LuaTwin>> = {
  "outbox.put": {
    kind: "write",
    lua: `
local function apply(r, i, now)
  if r then
    if r.fp ~= i.fp then return {state='mismatch'} end
    return {state=r.s == 's' and 'sent' or 'queued'}
  end
  local x = math.max(now, tonumber(i.due)) + tonumber(i.keep)
  i.due, i.keep, i.s, i.x = nil, nil, 'q', int(x)
  return {state='queued'}, i, x
end`,
  },
  "outbox.add": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  r = r or {}
  local known, count = r[i.id], 0
  if known then
    local s = entry(known).s
    return {state=(s == 'd' or s == 'x') and s or 'queued'}
  end
  for _ in pairs(r) do count = count + 1 end
  if count >= tonumber(i.most) then return {state='full'} end
  local t = math.max(now, tonumber(i.due))
  r[i.id] = text({s='w', t=t, a=0, k=0, b=0, o='', x=t + tonumber(i.keep), c=''})
  return bucket({state='queued'}, r)
end`,
  },
  "outbox.claim": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  local out, n, mine, due, soonest, expired = {}, {}, {}, {}, nil, 0
  for id, v in pairs(r or {}) do
    local e = entry(v)
    e.id = id
    if e.s ~= 'l' and now >= e.x then expired = expired + 1
    else
      n[id] = v
      if e.s == 'l' and e.o == i.owner then mine[#mine + 1] = e
      elseif e.s == 'w' or e.s == 'l' then
        if now >= e.t then due[#due + 1] = e else soonest = math.min(soonest or e.t, e.t) end
      end
    end
  end
  table.sort(due, function(a, b) if a.t ~= b.t then return a.t < b.t end return a.id < b.id end)
  local count = #mine > 0 and 0 or tonumber(i.limit)
  if #due > count then soonest = now end
  for m = 1, math.min(count, #due) do
    local e = due[m]
    e.s, e.t, e.a, e.o = 'l', now + tonumber(i.lease), e.a + 1, i.owner
    n[e.id] = text(e)
    mine[#mine + 1] = e
  end
  for _, e in ipairs(mine) do out['m:' .. e.id] = int(e.a) .. ':' .. int(e.k) .. ':' .. int(e.b) end
  out.expired = int(expired)
  if soonest then out.next = int(soonest - now) end
  if expired == 0 and (count == 0 or #due == 0) then return out end
  return bucket(out, n)
end`,
  },
  "outbox.extend": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  local held = 0
  for id, v in pairs(r or {}) do
    local e = entry(v)
    if e.s == 'l' and e.o == i.owner then
      e.t = now + tonumber(i.lease)
      r[id] = text(e)
      held = held + 1
    end
  end
  if held == 0 then return {held='0'} end
  return bucket({held=int(held)}, r)
end`,
  },
  "outbox.begin": {
    kind: "write",
    lua: `
local function apply(r, i)
  if not r then return {state='gone'} end
  if r.s == 's' then return {state='sent'} end
  local begun, a = tonumber(r.n or '0'), tonumber(i.a)
  local again = begun == a and r.w == i.owner
  if begun >= a and not again then return {state='stale'} end
  local earlier = again and tonumber(r.e) or begun
  local unsure = earlier > math.max(tonumber(i.k), tonumber(r.known or '0'))
  if unsure and i.hold == '1' then return {state='doubt'} end
  local out = {}
  for k, v in pairs(r) do out[k] = v end
  out.s, out.n, out.w, out.e, out.x, out.known = nil, nil, nil, nil, nil, nil
  out.state, out.unsure = 'go', unsure and '1' or '0'
  r.n, r.w, r.e = i.a, i.owner, int(earlier)
  return out, r, tonumber(r.x)
end`,
  },
  "outbox.defer": {
    kind: "write",
    lua: `
local function apply(r, i)
  if not r or r.n ~= i.a or r.w ~= i.owner then return {done='0'} end
  r.left, r.known = i.left, i.a
  return {done='1'}, r, tonumber(r.x)
end`,
  },
  "outbox.sent": {
    kind: "write",
    lua: `
local function apply(r, i, now) return {}, {s='s', fp=i.fp}, now + tonumber(i.remember) end`,
  },
  "outbox.settle": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  local v = r and r[i.id]
  if not v then return {done=i.to == 'gone' and '1' or '0'} end
  if i.to == 'gone' then
    r[i.id] = nil
    return bucket({done='1'}, r)
  end
  local e = entry(v)
  if e.o ~= i.owner then return {done='0'} end
  if e.s ~= 'l' then return {done='1'} end
  if i.known == '1' then e.k = e.a end
  if i.known == 'back' then e.b = e.b + 1 end
  e.s, e.t, e.c = i.to, now + tonumber(i.delay), i.code
  r[i.id] = text(e)
  return bucket({done='1'}, r)
end`,
  },
  "outbox.resolve": {
    kind: "write",
    lua: HELPERS + `
local function apply(r, i, now)
  local v = r and r[i.id]
  if not v then return {done='0'} end
  local e = entry(v)
  if e.s == 'l' or (e.s == 'w' and i.to == 'w') then return {done='0'} end
  if i.to == 'gone' then r[i.id] = nil
  else
    e.s, e.t, e.k, e.b, e.o, e.c = 'w', now, e.a, e.a, '', ''
    r[i.id] = text(e)
  end
  return bucket({done='1'}, r)
end`,
  },
  "outbox.read": { kind: "read", lua: `local function apply(r) return r or {} end` },
};

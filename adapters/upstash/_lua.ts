/**
 * The Lua twins: each transition once more, in the language that runs next to the data. They say the same as the
 * TypeScript in `src/`, line by line; a differential test holds them to it over random histories.
 *
 * `apply(r, i, now)` gets the record (or nil), the input and the time, and returns output, next record and
 * deadline. A nil record changes nothing, `false` deletes. Numbers become text through `int`, never by themselves.
 */

const VALUE = `
local function value(v, ttl, now)
  if not ttl then return {v=v} end
  local e = now + tonumber(ttl)
  return {v=v, e=int(e)}, e
end
local function current(r, out) if r then out.v = r.v or '\\0' end return out end
`;

const LOCK = `
local function held(r, now) return r and r.o and now < tonumber(r.e) end
local function hold(o, f, till) return {fence=f, e=int(till)}, {f=f, o=o, e=int(till)}, till + 86400000 end
`;

const CLAIM = `
local function keep(r, out) return out, r, tonumber(r.x) end
`;

const SESSION = `
local function alive(r, i, now)
  return r and r.h and now < tonumber(r.t) + tonumber(i.idle) and now < tonumber(r.c) + tonumber(i.absolute)
end
local function kept(r, i, now) return r, math.min(now + tonumber(i.idle), tonumber(r.c) + tonumber(i.absolute)) end
local function values(i, r)
  for k, v in pairs(i) do local p = string.sub(k, 1, 2) if p == 'd:' or p == 'f:' then r[k] = v end end
  return r
end
`;

const THROTTLE = `
local function gcra(p, s, cost, now)
  local us = now * 1000
  local unit = math.ceil(p.window * 1000 / p.limit)
  local nxt = math.max(math.max(tonumber(s or '0'), us) + cost * unit, us)
  local over = 0
  if cost > 0 then over = nxt - p.burst * unit - us end
  local retry = 0
  if over > 0 then retry = cost > p.burst and -1 or math.ceil(over / 1000) end
  return retry, int(nxt), function(st)
    local ahead = math.max(tonumber(st or '0'), us) - us
    local remaining = math.max(0, math.floor((p.burst * unit - ahead) / unit))
    local wait = 0
    if ahead ~= 0 then wait = ahead - (p.burst - remaining - 1) * unit end
    return remaining, math.ceil(ahead / 1000), math.ceil(math.max(0, wait) / 1000)
  end
end
local function parts(s)
  local out = {}
  for n in string.gmatch(s or '', '[^:]+') do out[#out + 1] = tonumber(n) end
  return out
end
local function fixed(p, s, cost, now)
  local index = math.floor(now / p.window)
  local left = (index + 1) * p.window - now
  local function read(st) local n = parts(st) if n[1] == index then return n[2] end return 0 end
  local nxt = math.max(0, read(s) + cost)
  local retry = 0
  if cost > 0 and nxt > p.limit then retry = cost > p.limit and -1 or left end
  return retry, int(index) .. ':' .. int(nxt), function(st)
    local count = read(st)
    local reset = count == 0 and 0 or left
    return math.max(0, p.limit - count), reset, reset
  end
end
local function sliding(p, s, cost, now)
  local index = math.floor(now / p.window)
  local elapsed = now - index * p.window
  local function read(st)
    local n = parts(st)
    if n[1] == index then return n[2], n[3] end
    if n[1] == index - 1 then return 0, n[2] end
    return 0, 0
  end
  local function till(room, current, previous)
    if room < 0 then return -1 end
    if room >= current then
      local at = 0
      if previous ~= 0 then at = p.window - math.floor((room - current) * p.window / previous) end
      if at < p.window or room == current then return math.max(0, at - elapsed) end
    end
    return p.window - elapsed + math.max(0, p.window - math.floor(room * p.window / current))
  end
  local current, previous = read(s)
  local taken = math.max(0, current + cost)
  local retry = 0
  if cost > 0 then retry = till(p.limit - cost, current, previous) end
  return retry, int(index) .. ':' .. int(taken) .. ':' .. int(previous), function(st)
    local c, v = read(st)
    local used = c + math.ceil(v * (p.window - elapsed) / p.window)
    local remaining = math.max(0, p.limit - used)
    local nextAfter = 0
    if used ~= 0 then nextAfter = till(p.limit - remaining - 1, c, v) end
    return remaining, till(0, c, v), nextAfter
  end
end
local algorithms = {gcra=gcra, ['token-bucket']=gcra, ['fixed-window']=fixed, ['sliding-window']=sliding}
`;

/** Helpers and body of each transition's twin, by the transition's name. */
export const LUA_TWINS: Readonly<Record<string, string>> = {
  "value.get": VALUE + `local function apply(r) return current(r, {}) end`,
  "value.set": VALUE + `local function apply(r, i, now) return {}, value(i.v, i.ttl, now) end`,
  "value.take": VALUE + `
local function apply(r)
  if not r then return {} end
  return current(r, {}), false
end`,
  "value.touch": `
local function apply(r, i, now)
  if not r then return {done='0'} end
  local e = now + tonumber(i.ttl)
  r.e = int(e)
  return {done='1'}, r, e
end`,
  "value.replace": VALUE + `
local function apply(r, i, now)
  if (r and r.v or nil) ~= i.expected then return current(r, {done='0'}) end
  return {done='1'}, value(i.v, i.ttl, now)
end`,
  "value.remove": `
local function apply(r, i)
  if not r or r.v ~= i.expected then return {done='0'} end
  return {done='1'}, false
end`,
  "value.increment": VALUE + `
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
  "lock.acquire": LOCK + `
local function apply(r, i, now)
  local till = now + tonumber(i.ttl)
  if held(r, now) then
    if r.o == i.owner then return hold(i.owner, r.f, till) end
    return {remaining=int(tonumber(r.e) - now)}
  end
  return hold(i.owner, int(math.max(tonumber(r and r.f or '0') + 1, now * 1000)), till)
end`,
  "lock.extend": LOCK + `
local function apply(r, i, now)
  if not held(r, now) or r.o ~= i.owner then return {} end
  return hold(i.owner, r.f, now + tonumber(i.ttl))
end`,
  "lock.release": LOCK + `
local function apply(r, i, now)
  if r and r.o == i.owner then
    return {result=held(r, now) and 'released' or 'expired'}, {f=r.f}, now + 86400000
  end
  return {result=(not r or r.f == i.fence) and 'expired' or 'overtaken'}
end`,
  "lock.inspect": LOCK + `
local function apply(r, i, now)
  if not r or not r.f then return {} end
  if not held(r, now) then return {f=r.f} end
  return {f=r.f, remaining=int(tonumber(r.e) - now)}
end`,
  "idempotency.begin": CLAIM + `
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
  "idempotency.complete": CLAIM + `
local function apply(r, i, now)
  if r and r.o ~= i.owner then return {state='superseded', r=r.s == 'c' and r.r or nil} end
  if r and r.s == 'c' then return {state='stored'} end
  local x = now + tonumber(i.retention)
  return keep({s='c', o=i.owner, fp=i.fp, r=i.r, a=i.attempt, x=int(x)}, {state='stored'})
end`,
  "idempotency.abandon": `
local function apply(r, i)
  if not r or r.s ~= 'p' or r.o ~= i.owner then return {done='0'} end
  return {done='1'}, false
end`,
  "idempotency.extend": CLAIM + `
local function apply(r, i, now)
  if not r or r.s ~= 'p' or r.o ~= i.owner then return {done='0'} end
  local l = now + tonumber(i.lease)
  r.l = int(l)
  r.x = int(math.max(tonumber(r.x), l))
  return keep(r, {done='1'})
end`,
  "idempotency.read": `
local function apply(r)
  if not r then return {} end
  if r.s ~= 'p' and r.s ~= 'c' then return {s='corrupt'} end
  return {s=r.s, a=r.a, r=r.s == 'c' and r.r or nil}
end`,
  "throttle.check": THROTTLE + `
local function apply(r, i, now)
  local cost, allowed, list = tonumber(i.cost), true, {}
  for n = 0, tonumber(i.n) - 1 do
    local p = {limit=tonumber(i[n .. '.limit']), window=tonumber(i[n .. '.window']), burst=tonumber(i[n .. '.burst'])}
    local field = 's:' .. i[n .. '.name']
    local retry, taken, view = algorithms[i[n .. '.algorithm']](p, r and r[field], cost, now)
    if retry ~= 0 then allowed = false end
    list[#list + 1] = {field=field, retry=retry, taken=taken, view=view}
  end
  local out, nxt, lasts = {allowed=allowed and '1' or '0'}, r or {}, 0
  for n, p in ipairs(list) do
    if allowed and cost ~= 0 then nxt[p.field] = p.taken end
    local remaining, reset, nextAfter = p.view(nxt[p.field])
    lasts = math.max(lasts, reset)
    local at = (n - 1) .. '.'
    out[at .. 'remaining'], out[at .. 'reset'] = int(remaining), int(reset)
    out[at .. 'next'], out[at .. 'retry'] = int(nextAfter), int(p.retry)
  end
  if not allowed or cost == 0 then return out end
  if lasts == 0 then return out, false end
  return out, nxt, now + lasts
end`,
  "session.load": SESSION + `
local function apply(r, i, now) return alive(r, i, now) and r or {} end`,
  "session.create": SESSION + `
local function apply(r, i, now)
  if r then return {done=r.h == i.h and '1' or '0', c=r.c or '0'} end
  local n = values(i, {h=i.h, c=i.c or int(now), t=int(now), u=i.u})
  if i.a then n.a = i.a == 'now' and int(now) or i.a end
  return {done='1', c=n.c}, kept(n, i, now)
end`,
  "session.commit": SESSION + `
local function apply(r, i, now)
  if not alive(r, i, now) then return {done='0'} end
  values(i, r).t = int(math.max(now, tonumber(r.t)))
  for k in pairs(i) do if string.sub(k, 1, 2) == 'x:' then r[string.sub(k, 3)] = nil end end
  return {done='1'}, kept(r, i, now)
end`,
  "session.claim": SESSION + `
local function apply(r, i, now)
  if not r then return {} end
  return alive(r, i, now) and r or {}, false
end`,
  "session.index": `
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
};

/** Reads the record as the engine keeps it: a hash whose field `@` is its deadline. */
const READ = `
local function int(n) return string.format('%.0f', n) end
local function clock(virtual)
  if virtual ~= '' then return tonumber(virtual) end
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
local function read(key)
  local flat, stored = redis.call('HGETALL', key), {}
  for n = 1, #flat, 2 do stored[flat[n]] = flat[n + 1] end
  return stored, #flat > 0
end
local function live(stored, there, now)
  if not there or (stored['@'] and now >= tonumber(stored['@'])) then return nil end
  local record = {}
  for k, v in pairs(stored) do if k ~= '@' then record[k] = v end end
  return record
end
local function write(key, stored, nxt, deadline, native)
  if not nxt then return redis.call('DEL', key) end
  nxt['@'] = deadline and int(deadline) or nil
  for k, v in pairs(nxt) do if stored[k] ~= v then redis.call('HSET', key, k, v) end end
  for k in pairs(stored) do if nxt[k] == nil then redis.call('HDEL', key, k) end end
  if not deadline then redis.call('PERSIST', key)
  elseif native then redis.call('PEXPIREAT', key, int(deadline)) end
end
-- A tilde keeps clients that guess at types from taking a text for a number or an object.
local function reply(fields)
  local out = {}
  for k, v in pairs(fields) do out[#out + 1] = '~' .. k out[#out + 1] = '~' .. v end
  return out
end
-- KEYS[2] holds the answer of a call that a client may send twice without telling us.
local function once(run)
  if not KEYS[2] then return run() end
  local known = redis.call('LRANGE', KEYS[2], 0, -1)
  if #known > 0 then table.remove(known, 1) return known end
  local out = run()
  redis.call('RPUSH', KEYS[2], '~', unpack(out))
  redis.call('PEXPIRE', KEYS[2], 60000)
  return out
end
`;

/** A twin with what surrounds it. `ARGV`: a virtual time for tests or empty, then the input's pairs. */
export function luaScript(twin: string): string {
  return `${READ}${twin.trim()}
return once(function()
  local now, input = clock(ARGV[1]), {}
  for n = 2, #ARGV, 2 do input[ARGV[n]] = ARGV[n + 1] end
  local stored, there = read(KEYS[1])
  local output, nxt, deadline = apply(live(stored, there, now), input, now)
  local out = reply(output)
  if nxt ~= nil then write(KEYS[1], stored, nxt, deadline, ARGV[1] == '') end
  return out
end)`;
}

/** `ARGV`: virtual time. Answers the time, and the record's pairs. */
export const LOAD = `${READ}
local stored, there = read(KEYS[1])
local now = clock(ARGV[1])
local out = reply(live(stored, there, now) or {})
table.insert(out, 1, '~' .. int(now))
return out`;

/**
 * Writes if the record is still the one that was loaded. `ARGV`: virtual time, how many items the loaded pairs are, those,
 * deadline or empty, then the next record's pairs (none: delete).
 */
export const COMMIT = `${READ}
return once(function()
  local stored, there = read(KEYS[1])
  local record, count, same = live(stored, there, clock(ARGV[1])) or {}, tonumber(ARGV[2]), 0
  for n = 3, count + 2, 2 do
    if record[ARGV[n]] ~= ARGV[n + 1] then return {'~0'} end
    same = same + 1
  end
  for _ in pairs(record) do same = same - 1 end
  if same ~= 0 then return {'~0'} end
  local nxt, deadline = nil, tonumber(ARGV[count + 3])
  for n = count + 4, #ARGV, 2 do nxt = nxt or {} nxt[ARGV[n]] = ARGV[n + 1] end
  write(KEYS[1], stored, nxt, deadline, ARGV[1] == '')
  return {'~1'}
end)`;

/** Encoded values of many keys; a missing one is an empty reply without its tilde. */
export const GET_MANY = `
local out = {}
for n, key in ipairs(KEYS) do
  local v = redis.call('HGET', key, 'v')
  if v then out[n] = '~' .. v elseif redis.call('EXISTS', key) == 1 then out[n] = '~\\0' else out[n] = '' end
end
return out`;

/** `ARGV`: milliseconds to live or empty, then a value per key. */
export const SET_MANY = `
local t = redis.call('TIME')
local e = tonumber(ARGV[1]) and string.format('%.0f', tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000) + tonumber(ARGV[1]))
for n, key in ipairs(KEYS) do
  redis.call('DEL', key)
  redis.call('HSET', key, 'v', ARGV[n + 1])
  if e then redis.call('HSET', key, 'e', e, '@', e) redis.call('PEXPIREAT', key, e) end
end
return '~'`;

/** Deletes many keys; answers how many there were. */
export const DELETE_MANY = `return redis.call('UNLINK', unpack(KEYS))`;

/** `ARGV`: cursor, pattern, how many. Answers the next cursor and the keys. */
export const LIST = `
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local out = {'~' .. page[1]}
for n, key in ipairs(page[2]) do out[n + 1] = '~' .. key end
return out`;

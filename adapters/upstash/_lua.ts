/**
 * The Lua twins: each transition once more, in the language that runs next to the data. They say the same as the
 * TypeScript in `src/`, line by line; a differential test holds them to it over random histories.
 *
 * `apply(r, i, now)` gets the record (or nil), the input and the time, and returns output, next record and
 * deadline. A nil record changes nothing, `false` deletes. Numbers become text through `int`, never by themselves. A twin may
 * have a `fast(i, now)` besides: the usual case done at once, with its reply, or nil for `apply` to decide.
 */

/** A transition's native form. */
export interface LuaTwin {
  /**
   * `read`: it never writes, so a lost reply leaves nothing in doubt. `write`: repeated with the same input it answers the
   * same. `once`: a repetition would answer differently, so its answer is remembered for a minute.
   */
  readonly kind: "read" | "write" | "once";
  /** Helpers and `apply`. */
  readonly lua: string;
  /** Helpers and `fast`; of what surrounds it, only `int` is there, as everything that a script defines costs it time. */
  readonly fast?: string;
}

/** The numbers of every script. */
const CLOCK = `
local function int(n) return string.format('%d', n) end
local function clock(virtual)
  if virtual ~= '' then return tonumber(virtual) end
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
`;

/** Reads the record as the engine keeps it: a hash whose field `@` is its deadline. */
const RECORD = `
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
  local set, gone = {}, {}
  for k, v in pairs(nxt) do if stored[k] ~= v then set[#set + 1] = k set[#set + 1] = v end end
  for k in pairs(stored) do if nxt[k] == nil then gone[#gone + 1] = k end end
  -- One command each, but for a record with more fields than unpack takes.
  for n = 1, #set, 2000 do redis.call('HSET', key, unpack(set, n, math.min(n + 1999, #set))) end
  for n = 1, #gone, 2000 do redis.call('HDEL', key, unpack(gone, n, math.min(n + 1999, #gone))) end
  if not deadline then redis.call('PERSIST', key)
  elseif native and stored['@'] ~= nxt['@'] then redis.call('PEXPIREAT', key, int(deadline)) end
end
-- One text: the tilde keeps clients that guess at types from taking it for anything else.
local function reply(list) return '~' .. cjson.encode(list) end
local function pairsOf(fields)
  local out = {}
  for k, v in pairs(fields) do out[#out + 1] = k out[#out + 1] = v end
  return out
end
-- KEYS[2] keeps the answer of a call that may arrive twice: clients resend, and so does a runtime's own fetch.
local function once(run)
  local memory = KEYS[2]
  local known = memory and redis.call('GET', memory)
  if known then return known end
  local out = reply(run())
  if memory then redis.call('SET', memory, out, 'PX', 60000) end
  return out
end
`;

const READ = CLOCK + RECORD;

/** A twin with what surrounds it. `ARGV`: a virtual time for tests or empty, then the input's pairs. */
export function luaScript(twin: string, fast?: string): string {
  return `${CLOCK}
local now, input = clock(ARGV[1]), {}
for n = 2, #ARGV, 2 do input[ARGV[n]] = ARGV[n + 1] end${
    fast === undefined ? "" : `
${fast.trim()}
local done = fast(input, now)
if done then return done end`
  }${RECORD}${twin.trim()}
return once(function()
  local stored, there = read(KEYS[1])
  local output, nxt, deadline = apply(live(stored, there, now), input, now)
  local out = pairsOf(output)
  if nxt ~= nil then write(KEYS[1], stored, nxt, deadline, ARGV[1] == '') end
  return out
end)`;
}

/** `ARGV`: virtual time. Answers the time, and the record's pairs. */
export const LOAD = `${READ}
local stored, there = read(KEYS[1])
local now = clock(ARGV[1])
local out = pairsOf(live(stored, there, now) or {})
table.insert(out, 1, int(now))
return reply(out)`;

/**
 * Writes if the record is still the one that was loaded. `ARGV`: virtual time, how many items the loaded pairs are, those,
 * deadline or empty, then the next record's pairs (none: delete).
 */
export const COMMIT = `${READ}
return once(function()
  local stored, there = read(KEYS[1])
  local record, count, same = live(stored, there, clock(ARGV[1])) or {}, tonumber(ARGV[2]), 0
  for n = 3, count + 2, 2 do
    if record[ARGV[n]] ~= ARGV[n + 1] then return {'0'} end
    same = same + 1
  end
  for _ in pairs(record) do same = same - 1 end
  if same ~= 0 then return {'0'} end
  local nxt, deadline = nil, tonumber(ARGV[count + 3])
  for n = count + 4, #ARGV, 2 do nxt = nxt or {} nxt[ARGV[n]] = ARGV[n + 1] end
  write(KEYS[1], stored, nxt, deadline, ARGV[1] == '')
  return {'1'}
end)`;

/** Encoded values of many keys; `false` for a missing one. */
export const GET_MANY = `${READ}
local out = {}
for n, key in ipairs(KEYS) do
  out[n] = redis.call('HGET', key, 'v') or (redis.call('EXISTS', key) == 1 and '\\0')
end
return reply(out)`;

/** `ARGV`: milliseconds to live or empty, then a value per key. */
export const SET_MANY = `${READ}
local ttl = tonumber(ARGV[1])
local e = ttl and int(clock('') + ttl)
for n, key in ipairs(KEYS) do
  redis.call('DEL', key)
  redis.call('HSET', key, 'v', ARGV[n + 1], unpack(e and {'e', e, '@', e} or {}))
  if e then redis.call('PEXPIREAT', key, e) end
end
return reply({})`;

/** Deletes many keys; answers how many there were. */
export const DELETE_MANY = `${READ}
return once(function() table.remove(KEYS, 2) return {tostring(redis.call('UNLINK', unpack(KEYS)))} end)`;

/** `ARGV`: cursor, pattern, how many. Answers the next cursor and the keys. */
export const LIST = `${READ}
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
table.insert(page[2], 1, page[1])
return reply(page[2])`;

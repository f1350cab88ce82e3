/**
 * The Lua twins: each transition once more, in the language that runs next to the data. They say the same as the
 * TypeScript in `src/`, line by line; a differential test holds them to it over random histories.
 *
 * `apply(r, i, now)` gets the record (or nil), the input and the time, and returns output, next record and
 * deadline. A nil record changes nothing, `false` deletes. Numbers become text through `int`, never by themselves. A twin may
 * have a `fast` besides: the usual case done at once, with its reply, or a `break` for `apply` to decide.
 *
 * Redis does one thing at a time, and what a script defines costs it time at every call: what is here runs straight down.
 */
import type { Fields } from "../../src/store/transition.ts";

/** A transition's native form. */
export interface LuaTwin {
  /**
   * `read`: it never writes, so a lost reply leaves nothing in doubt. `write`: repeated with the same input it answers the
   * same. `once`: a repetition would answer differently, so its answer is remembered for a minute.
   */
  readonly kind: "read" | "write" | "once";
  /** Helpers and `apply`. */
  readonly lua: string;
  /** Fields of the input that travel without their names, in this order; an empty one is a missing one. */
  readonly fields?: readonly string[];
  /** Finds its input in `ARGV`; of what surrounds it, only `int`, `now` and `virtual` are there. */
  readonly fast?: string;
  /** The output, of the whole number or numbers that `fast` answers, which travel as they are; undefined: they are none of its. */
  readonly output?: (figures: readonly number[]) => Fields | undefined;
}

/** `now`, in milliseconds: Redis's own, or in tests a virtual one before the other arguments. */
const now = (virtual: boolean) => `
local function int(n) return string.format('%d', n) end
${virtual ? VIRTUAL : TIME}`;
const TIME = `local t = redis.call('TIME')
local now, virtual = t[1] * 1000 + math.floor(t[2] / 1000), false`;
const VIRTUAL = `local now, virtual = tonumber(table.remove(ARGV, 1)), true`;

/** A helper of twins: whether a text is a whole number that a double holds. */
export const WHOLE = `
local function whole(v) return v and #v <= 16 and string.find(v, '^%d+$') end
`;

/** `record`, unless there is none or its time is over. The engine keeps it as a hash, whose field `@` is its deadline, `was`. */
const READ = `
local flat, record, was = redis.call('HGETALL', KEYS[1]), nil, nil
if flat[1] then
  record = {}
  for n = 1, #flat, 2 do record[flat[n]] = flat[n + 1] end
  was, record['@'] = record['@'], nil
  if was and now >= tonumber(was) then record = nil end
end
`;

/** Makes `nxt` the record until `deadline`; writes what differs from what was read. */
const WRITE = `
if nxt == false then redis.call('DEL', KEYS[1]) elseif nxt then
  deadline = deadline and int(deadline)
  nxt['@'] = deadline
  local gone, set = {}, {}
  for n = 1, #flat, 2 do
    local name = flat[n]
    local value = nxt[name]
    if value == nil then gone[#gone + 1] = name elseif value == flat[n + 1] then nxt[name] = nil end
  end
  for name, value in pairs(nxt) do set[#set + 1] = name set[#set + 1] = value end
  -- One command each, but for a record with more fields than unpack takes.
  for n = 1, #set, 2000 do redis.call('HSET', KEYS[1], unpack(set, n, math.min(n + 1999, #set))) end
  for n = 1, #gone, 2000 do redis.call('HDEL', KEYS[1], unpack(gone, n, math.min(n + 1999, #gone))) end
  if not deadline then redis.call('PERSIST', KEYS[1])
  elseif not virtual and was ~= deadline then redis.call('PEXPIREAT', KEYS[1], deadline) end
end
`;

/** Answers `out` as one text: the tilde keeps clients that guess at types from taking it for anything else. */
const REPLY = `
return '~' .. cjson.encode(out)`;

/** KEYS[2] keeps the answer of a call that may arrive twice: clients resend, and so does a runtime's own fetch. */
const KNOWN = `
local memory = KEYS[2]
local known = memory and redis.call('GET', memory)
if known then return known end
`;

const REMEMBER = `
out = '~' .. cjson.encode(out)
if memory then redis.call('SET', memory, out, 'PX', 60000) end
return out`;

/** What travels of an input: the values of the twin's own fields, then pairs of what it has besides. */
export function inputArgs(input: Fields, fields: readonly string[] = []): string[] {
  const args = fields.map((name) => input[name] ?? "");
  let own = args.length;
  while (own > 0 && args[own - 1] === "") own--;
  for (const name in input) if (!fields.includes(name)) args.push(name, input[name]!);
  if (args.length === fields.length) args.length = own;
  return args;
}

/** A twin with what surrounds it. `ARGV`: what `inputArgs` answered. */
export function luaScript(twin: Omit<LuaTwin, "kind">, virtual: boolean): string {
  const { fields = [], fast, lua } = twin;
  return `${now(virtual)}${
    fast === undefined ? "" : `
repeat
${fast.trim()}
until true`
  }${KNOWN}${lua.trim()}${READ}
local input, names, out = {}, {${fields.map((name) => `'${name}'`)}}, {}
for n = 1, #names do if ARGV[n] ~= '' then input[names[n]] = ARGV[n] end end
for n = #names + 1, #ARGV, 2 do input[ARGV[n]] = ARGV[n + 1] end
local output, nxt, deadline = apply(record, input, now)
for name, value in pairs(output) do out[#out + 1] = name out[#out + 1] = value end
${WRITE}${REMEMBER}`;
}

/** Answers the time, and the record's pairs. */
export const load = (virtual: boolean): string =>
  `${now(virtual)}${READ}
local out = {int(now)}
for name, value in pairs(record or {}) do out[#out + 1] = name out[#out + 1] = value end
${REPLY}`;

/**
 * Writes if the record is still the one that was loaded. `ARGV`: how many items the loaded pairs are, those, deadline or
 * empty, then the next record's pairs (none: delete).
 */
export const commit = (virtual: boolean): string =>
  `${now(virtual)}${KNOWN}${READ}
local count, left, same = tonumber(ARGV[1]), 0, true
for _ in pairs(record or {}) do left = left + 1 end
for n = 2, count + 1, 2 do
  same = same and record ~= nil and record[ARGV[n]] == ARGV[n + 1]
  left = left - 1
end
local out, nxt, deadline = {'0'}, nil, nil
if same and left == 0 then
  out, nxt, deadline = {'1'}, false, tonumber(ARGV[count + 2])
  for n = count + 3, #ARGV, 2 do nxt = nxt or {} nxt[ARGV[n]] = ARGV[n + 1] end
end
${WRITE}${REMEMBER}`;

/** Encoded values of many keys; `false` for a missing one. */
export const GET_MANY = `
local out = {}
for n, key in ipairs(KEYS) do
  out[n] = redis.call('HGET', key, 'v') or (redis.call('EXISTS', key) == 1 and '\\0')
end
${REPLY}`;

/** `ARGV`: milliseconds to live or empty, then a value per key. */
export const setMany = (virtual: boolean): string =>
  `${now(virtual)}
local ttl = tonumber(ARGV[1])
local e = ttl and int(now + ttl)
for n, key in ipairs(KEYS) do
  redis.call('DEL', key)
  redis.call('HSET', key, 'v', ARGV[n + 1], unpack(e and {'e', e, '@', e} or {}))
  if e and not virtual then redis.call('PEXPIREAT', key, e) end
end
return '~[]'`;

/** Deletes many keys; answers how many there were. */
export const DELETE_MANY = `${KNOWN}
table.remove(KEYS, 2)
local out = {tostring(redis.call('UNLINK', unpack(KEYS)))}
${REMEMBER}`;

/** `ARGV`: cursor, pattern, how many. Answers the next cursor and the keys. */
export const LIST = `
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local out = page[2]
table.insert(out, 1, page[1])
${REPLY}`;

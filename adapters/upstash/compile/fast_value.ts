/**
 * The usual calls of plain values, by hand: a value is read and written without its deadline's field where it
 * has none, and the clock is not read where nothing depends on it. PEXPIREAT gets the millisecond before the
 * deadline: see `WRITE`.
 */
import type { FastPath } from "./fast_path.ts";
import { unlessDone } from "./engine_lua.ts";

/**
 * Answers the text behind a mark; nothing where there is nothing. 6.1 µs against 9.2 µs compiled, in one run.
 */
const get = (): FastPath => ({
  lua: `
local found = redis.call('HMGET', KEYS[1], 'v', '@')
if found[2] then
READ_TIME
  if now >= tonumber(found[2]) then return '=' end
end
if found[1] then return '!' .. found[1] end
if redis.call('EXISTS', KEYS[1]) == 0 then return '=' end
return '!\\0'`,
});

/**
 * Any record is replaced, whatever it is. The key of another program is an error at HLEN, before anything is
 * written. 9.6 µs against 19 µs compiled in the same run, with a `ttl` 18 against 27.
 */
const set = (): FastPath => ({
  fields: ["v", "ttl"],
  lua: `
local key, memory, value, ttl = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if string.byte(value) == 0 then value = string.sub(value, 2) end
local fields = redis.call('HLEN', key)
${unlessDone("'='")}
if fields > 1 or (ttl and fields > 0) then redis.call('DEL', key) fields = 0 end
if not ttl then
  -- A record of one field that is no value has a field too many then.
  if redis.call('HSET', key, 'v', value) == 1 and fields > 0 then
    redis.call('DEL', key)
    redis.call('HSET', key, 'v', value)
  end
  return '='
end
READ_TIME
local ends = format('%d', now + ttl)
redis.call('HSET', key, 'v', value, 'e', ends, '@', ends)
redis.call('PEXPIREAT', key, format('%d', ends - 1))
return '='`,
});

/**
 * Adds to an integer of up to 15 digits; the record's other fields stay. 15 µs against 34 µs compiled in the
 * same run.
 */
const increment = (): FastPath => ({
  fields: ["by", "ttl"],
  lua: `
local key, memory, by, ttl = KEYS[1], KEYS[2], tonumber(ARGV[1]), ARGV[2]
if by > 999999999999999 or by < -999999999999999 then break end
local found = redis.call('HMGET', key, 'v', 'e', '@')
local ends, sum = found[2], nil
if found[1] then
  if ends ~= found[3] or #found[1] > 16 then break end
  sum = string.match(found[1], '^\\t(%-?%d+)$')
  if not sum then break end
  sum = sum + by
  if ends then
READ_TIME
    if now >= tonumber(ends) then break end
  end
elseif found[3] or redis.call('EXISTS', key) == 1 then break
else
  sum = by
  if ttl then
READ_TIME
    ends = format('%d', now + ttl)
  end
end
sum = format('%d', sum)
local reply = ends and '=n,' .. sum .. ',e,' .. ends or '=n,' .. sum
${unlessDone("reply")}
if found[1] or not ends then redis.call('HSET', key, 'v', '\\t' .. sum)
else
  redis.call('HSET', key, 'v', '\\t' .. sum, 'e', ends, '@', ends)
  redis.call('PEXPIREAT', key, format('%d', ends - 1))
end
return reply`,
});

/** By the names of their transitions. */
export const valueFast = (): Record<string, FastPath> => ({
  "value.get": get(),
  "value.set": set(),
  "value.increment": increment(),
});

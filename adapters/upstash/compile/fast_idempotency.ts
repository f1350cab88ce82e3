/**
 * The usual calls of idempotency, by hand; `src/idempotency/idempotency_transitions.ts` has the record's
 * fields.
 */
import type { FastPath } from "./fast_path.ts";
import { unlessDone } from "./engine_lua.ts";

/** The key is free. 21 µs against 41 µs compiled, in one run on a loaded machine. */
const begin = (): FastPath => ({
  fields: ["owner", "claim", "lease", "retention", "fingerprint"],
  lua: `
local key, memory, fingerprint = KEYS[1], KEYS[2], ARGV[5] or ''
if string.byte(fingerprint) == 0 or redis.call('EXISTS', key) == 1 then break end
${unlessDone("'=state,new,attempt,1'")}
READ_TIME
local leaseEnds = now + ARGV[3]
local ends = now + ARGV[4]
if ends < leaseEnds then ends = leaseEnds end
ends = format('%d', ends)
redis.call('HSET', key, 'state', 'pending', 'owner', ARGV[1], 'claim', ARGV[2], 'fingerprint', fingerprint,
  'leaseEnds', format('%d', leaseEnds), 'attempt', '1', 'retentionEnds', ends, '@', ends)
redis.call('PEXPIREAT', key, ends)
return '=state,new,attempt,1'`,
});

/** The claimant completes its own pending record. 28 µs against 43 µs compiled, in the same run. */
const complete = (): FastPath => ({
  fields: ["owner", "claim", "attempt", "retention", "fingerprint", "response"],
  lua: `
local key, memory, find = KEYS[1], KEYS[2], string.find
local fingerprint, response = ARGV[5] or '', ARGV[6]
if string.byte(fingerprint) == 0 then break end
local found = redis.call('HMGET', key, 'state', 'owner', '@', 'leaseEnds', 'attempt', 'retentionEnds', 'fingerprint',
  'claim')
if found[1] ~= 'pending' or found[2] ~= ARGV[1] or not found[7] or not found[8] then break end
local over, lease, attempt, ends = found[3] or '', found[4] or '', found[5] or '', found[6] or ''
if #over > 16 or #lease > 16 or #attempt > 16 or #ends > 16 or
  not find(over .. ' ' .. lease .. ' ' .. attempt .. ' ' .. ends, '^%d+ %d+ %d+ %d+$') then break end
READ_TIME
if now >= over + 0 then break end
${unlessDone("'=state,stored'")}
ends = format('%d', now + ARGV[4])
-- What else a record had is gone with it, as is the lease.
redis.call('DEL', key)
if not response or response == '' then
  redis.call('HSET', key, 'state', 'done', 'owner', ARGV[1], 'claim', ARGV[2], 'fingerprint', fingerprint,
    'attempt', ARGV[3], 'retentionEnds', ends, '@', ends)
else
  if string.byte(response) == 0 then response = string.sub(response, 2) end
  redis.call('HSET', key, 'state', 'done', 'owner', ARGV[1], 'claim', ARGV[2], 'fingerprint', fingerprint,
    'attempt', ARGV[3], 'retentionEnds', ends, '@', ends, 'response', response)
end
redis.call('PEXPIREAT', key, ends)
return '=state,stored'`,
});

/** By the names of their transitions. */
export const idempotencyFast = (): Record<string, FastPath> => ({
  "idempotency.begin": begin(),
  "idempotency.complete": complete(),
});

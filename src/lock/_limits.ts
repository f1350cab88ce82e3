/**
 * The figures of a lock, in milliseconds where they are times. The Lua twins repeat those of the transitions.
 */

/** How long a free lock remembers its fence. After that the clock's seed is above it anyway. */
export const FENCE_RETENTION = 86_400_000;

/** What the deadline of a record is rounded up to. */
export const HOUR = 3_600_000;

/** How long a lock that was handed over waits for its new holder to ask again: what a dead waiter costs. */
export const HAND_OVER = 1000;

/** How long a place in the queue lasts after its owner last asked. */
export const TICKET = 15_000;

/** Asking again renews a ticket that would gain at least this much. */
export const TICKET_GAIN = 4000;

/** The longest queue, and the most that may share one lock: a record must fit into every engine's value. */
export const MOST_SHARING = 256;

/**
 * How many ids of ended acquisitions a record remembers, so that a copy that arrives late is refused. A copy
 * is late by one request, so a few releases are enough; every id costs each record 23 bytes.
 */
export const DONE_REMEMBERED = 8;

/**
 * The interval at which a queued waiter asks although nothing was notified: renews the ticket, and covers
 * lost notifications.
 */
export const CHECK = 5000;

/**
 * The longest backoff of the first in a queue on an engine that cannot notify: well within {@linkcode
 * HAND_OVER}.
 */
export const QUEUE_PAUSE = 250;

/**
 * What each waiter ahead adds to that backoff, up to {@linkcode QUEUE_PAUSE_MOST}. Each of them takes about
 * half a {@linkcode QUEUE_PAUSE} to be served, so a waiter has asked again long before it is the first.
 */
export const QUEUE_PAUSE_STEP = 50;

/** The longest backoff of those further back in a queue. */
export const QUEUE_PAUSE_MOST = 5000;

/** The longest backoff of waiters that do not queue. */
export const PAUSE = 1000;

/** The longest lease. */
export const LONGEST = 365 * 86_400_000;

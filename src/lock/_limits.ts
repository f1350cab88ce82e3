/** The figures of a lock, in milliseconds where they are times. */

/** The time for which a free lock remembers its fence. After that the clock's seed is above it anyway. */
export const FENCE_RETENTION = 86_400_000;

/** The unit to which the deadline of a record is rounded up. */
export const HOUR = 3_600_000;

/**
 * The time for which a lock that was handed over waits for its new holder: the delay that a dead waiter
 * costs.
 */
export const HAND_OVER = 1000;

/** The time for which a ticket lasts after its owner last asked, at the head of the queue. */
export const TICKET = 15_000;

/**
 * The time that each waiter ahead adds to a ticket, so that it outlives the sleep of a waiter far back (see
 * {@linkcode QUEUE_PAUSE_STEP}) and mostly its whole wait. Dead waiters hardly add up by this: of a queue
 * that died at once, each takes a second, and those behind the first 19 have lost their tickets by then.
 */
export const TICKET_STEP = 200;

/** Asking again renews a ticket that would gain at least this much. */
export const TICKET_GAIN = 4000;

/** The longest queue, and the most that may share one lock: a record must fit into every engine's value. */
export const MOST_SHARING = 256;

/**
 * The number of ids of ended acquisitions that a record remembers, so that a copy that arrives late is
 * refused. A copy is late by one request, so a few releases are enough; every id costs each record 23 bytes.
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
 * The time that each waiter ahead adds to the backoff of those further back. Each of them takes about half a
 * {@linkcode QUEUE_PAUSE} and a round trip until it is served, even if it releases at once: sums of such
 * times keep so close to their mean that a waiter wakes before its turn, or well within {@linkcode
 * HAND_OVER} after it. An estimate from what was observed could be longer, but one slow holder would spoil
 * it, and the queue behind it would oversleep. With sleeps in proportion to the place, the looks of a whole
 * queue grow with the logarithm of its length up to place 50, and slowly beyond.
 */
export const QUEUE_PAUSE_STEP = 100;

/**
 * The longest backoff in a queue, at place 50 and beyond: those ahead may all give up at once, and then a
 * waiter that sleeps on misses its turn.
 */
export const QUEUE_PAUSE_MOST = 5000;

/** The minimum time before the end of its ticket at which a waiter renews it: one slow request. */
export const TICKET_SPARE = 3000;

/** The longest backoff of waiters that do not queue. */
export const PAUSE = 1000;

/** The longest lease. */
export const LONGEST = 365 * 86_400_000;

// Package cache remembers what an engine said about an object, so that the same
// bytes are scanned once: in memory, and if there is a Redis, for all replicas.
//
// It must not know any engine's wire protocol, any policy, nor what a verdict
// leads to.
//
// # What is remembered
//
// Only complete CLEAN (cause "scanned") and INFECTED (cause "malware") verdicts.
// Limits, POLICY, UNSCANNABLE, time-outs and errors never are: they say something
// about a moment or a setting. CLEAN is kept for 15 minutes at most, INFECTED for
// a day at most, and INFECTED is never replaced by CLEAN while it lives.
//
// # What is in the key, and why
//
//   - SHA-256 and size of the content: the gate computes both itself. An object
//     without a digest passes by the cache.
//   - the engine's configured name and a fingerprint of its configuration
//     ([Identity]): another engine, or other options, may judge otherwise.
//   - the signature version the engine works with: an update makes every older
//     entry unreachable. It is read before and after the scan, and a verdict that
//     straddles a change is handed out and not kept.
//   - the sender's labels (file name and content type), but only for an engine
//     that is told them: for the others the same bytes under another name are the
//     same object.
//
// The policy itself is not in the key. An engine is given an object and nothing
// else, so what it says cannot depend on the policy; whatever a policy does with
// the verdict (block, pass, limits, fail-open) happens after the cache, for every
// exchange anew. Nor is a path or URL: they say nothing about bytes.
//
// When the signature version is unknown (the engine cannot tell, the instances
// disagree, or one was blind of late), a random number takes its place that is new
// for every start and every change: such an entry is bounded by its time, and never
// shared through Redis.
//
// # One scan for many callers
//
// Callers that ask about the same object at the same time share one scan, a
// "flight". It belongs to none of them: it reads the content of whoever is still
// there, so a client that leaves neither ends the scan for the others nor leaves
// its content to be read after it has gone. When the last one leaves, it is
// cancelled. Content that takes too long is answered to each caller as its own
// deadline comes, with what the engine itself says about that (ERROR or
// UNSCANNABLE); callers with much time left go on with another attempt.
//
// # Redis
//
// Redis can only ever save a scan: when it is down, slow or holds something odd,
// that is a miss. A lookup is given 30 ms, a breaker stops asking after five
// failures in a row, and writing happens in the background from a queue that
// drops. Replies are bounded before the client library sees them. Redis is trusted: whoever may write to it could call malware CLEAN.
// With a key file each entry carries an HMAC-SHA256 over its key and value, and
// nothing else is believed; what remains is to replay an entry that was once true
// for the same content, engine and signature version, beyond its time.
package cache

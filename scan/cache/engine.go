package cache

import (
	"context"
	"sync/atomic"

	"github.com/portcullis-av/portcullis/scan"
)

// Identity says which engine a verdict came from; it is part of every key.
type Identity struct {
	// Name is the engine's configured name.
	Name string
	// Config is a fingerprint of all settings that may change what the engine
	// says, the same on every replica that is to share verdicts.
	Config string
	// Labels must be true for an engine that looks at the object's name or
	// content type: they are then part of the key.
	Labels bool
}

// Engine is a [scan.Engine] with a memory. It is safe for concurrent use.
type Engine struct {
	cache   *Cache
	engine  scan.Engine
	name    string
	scopes  *scopes
	flights *flights

	hits, sharedHits, merged, misses, stored atomic.Uint64
}

var _ scan.Engine = (*Engine)(nil)

// Engine puts the cache before an engine. Version returns the signature version
// the engine works with right now, or "" when it is unknown; it is called for
// every scan. Every engine of a cache needs an identity of its own.
func (c *Cache) Engine(id Identity, engine scan.Engine, version func() string) *Engine {
	e := &Engine{cache: c, engine: engine, name: id.Name, scopes: newScopes(id, version)}
	e.flights = newFlights(e.ask)
	return e
}

// Name is the engine's configured name.
func (e *Engine) Name() string { return e.name }

// Scan returns a remembered verdict, or the engine's. Threats of a remembered
// verdict have been through [scan.SafeThreats], and Detail is not kept.
//
// What the engine says about bytes that several callers sent at the same time is
// said to all of them, errors included; see the package comment. Errors are the
// engine's, or KindCanceled when ctx was cancelled; a panic of the engine is an
// error of KindInternal. After ctx's deadline it returns when the engine does, or
// for a caller that joined the scan of others, half a second later at most.
func (e *Engine) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	if e.cache.off || o.Size <= 0 {
		return e.engine.Scan(ctx, o)
	}
	if o.SHA256 = o.Digest(); o.SHA256 == [32]byte{} {
		return e.engine.Scan(ctx, o)
	}
	if err := ctx.Err(); err != nil {
		return scan.Verdict{}, ended(err)
	}
	at := e.scopes.now()
	k := e.scopes.key(at, o)
	if found, ok := e.cache.memory.get(k); ok {
		e.hits.Add(1)
		return signed(found.verdict(), at), nil
	}
	v, joined, err := e.flights.scan(ctx, request{key: k, scope: at, object: o})
	if joined {
		e.merged.Add(1)
	}
	return v, err
}

// ask is one attempt of a flight: Redis first, then the engine.
func (e *Engine) ask(ctx context.Context, r request) (scan.Verdict, error) {
	// A flight may begin just after another one for the same object has ended.
	if found, ok := e.cache.memory.get(r.key); ok {
		e.hits.Add(1)
		return signed(found.verdict(), r.scope), nil
	}
	if !r.key.private && !r.again {
		if found, left, ok := e.cache.shared.get(ctx, r.key); ok {
			e.sharedHits.Add(1)
			found = e.cache.memory.put(r.key, found, min(left, e.cache.ttlOf(found)))
			return signed(found.verdict(), r.scope), nil
		}
	}
	e.misses.Add(1)
	v, err := e.engine.Scan(ctx, r.object)
	if err != nil {
		return v, err
	}
	return e.keep(r, v), nil
}

// keep remembers v if it may, and returns the verdict that stands.
func (e *Engine) keep(r request, v scan.Verdict) scan.Verdict {
	fresh, ok := entryOf(v)
	if !ok || v.Signatures != "" && v.Signatures != r.scope.version {
		return v
	}
	if e.scopes.now() != r.scope {
		return v // the signatures changed meanwhile: nobody knows which ones it is of
	}
	v = signed(v, r.scope)
	stands := e.cache.memory.put(r.key, fresh, e.cache.ttlOf(fresh))
	if stands.infected && !fresh.infected {
		return signed(stands.verdict(), r.scope)
	}
	e.stored.Add(1)
	if !r.key.private {
		e.cache.shared.put(r.key, fresh, e.cache.ttlOf(fresh))
	}
	return v
}

// signed names the signatures, as far as they are known.
func signed(v scan.Verdict, at *scope) scan.Verdict {
	if v.Signatures == "" {
		v.Signatures = at.version
	}
	return v
}

func ended(err error) error {
	return &scan.Error{Kind: scan.KindOf(err), Op: "wait for the verdict", Err: err}
}

// EngineStats count what became of objects since the start.
type EngineStats struct {
	// MemoryHits and SharedHits needed no engine.
	MemoryHits, SharedHits uint64
	// Merged were answered by a scan that was under way for somebody else.
	Merged uint64
	// Misses are scans given to the engine.
	Misses uint64
	// Stored are verdicts kept.
	Stored uint64
}

// Stats may be called at any time.
func (e *Engine) Stats() EngineStats {
	return EngineStats{
		MemoryHits: e.hits.Load(), SharedHits: e.sharedHits.Load(), Merged: e.merged.Load(),
		Misses: e.misses.Load(), Stored: e.stored.Load(),
	}
}

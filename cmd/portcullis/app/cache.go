package app

import (
	"crypto/tls"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/cache"
	"github.com/portcullis-av/portcullis/scan/fleet"
)

// buildCache reads secrets and certificates; it connects to nothing.
func buildCache(c *configv1.Cache) (*cache.Cache, error) {
	made := cache.Config{MemoryEntries: int(c.GetMemoryEntries()), TTL: c.GetTtl().AsDuration()}
	if r := c.GetRedis(); r != nil {
		redis := cache.Redis{
			Address: r.GetAddress(), Username: r.GetUsername(), PasswordFile: r.GetPasswordFile(),
			Database: int(r.GetDatabase()), KeyPrefix: r.GetKeyPrefix(), HMACKeyFile: r.GetHmacKeyFile(),
		}
		if t := r.GetTls(); t != nil {
			var err error
			if redis.TLS, err = redisTLS(t); err != nil {
				return nil, err
			}
		}
		made.Redis = &redis
	}
	return cache.New(made)
}

func redisTLS(t *configv1.RedisTLS) (*tls.Config, error) {
	c, err := dialTLS(t.GetServerName(), t.GetCaFile())
	if err != nil || t.GetCertFile() == "" {
		return c, err
	}
	pair, err := tls.LoadX509KeyPair(t.GetCertFile(), t.GetKeyFile())
	if err != nil {
		return nil, err
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// remember puts the cache before an engine's fleet. The fleet's own canaries do
// not pass here: they must see the engine.
//
// The builtin engine stays without: it judges 10 KiB in less than 0.3 µs, as long
// as a hit takes and a twentieth of what a miss adds, and 100 MiB in a tenth of
// the time that their SHA-256 takes, which is needed before any look-up.
func (b *builder) remember(p *parts, made *engine, e *configv1.Engine) scan.Engine {
	if made.kind == "builtin" || p.cache == nil {
		return made.fleet
	}
	name := e.GetName()
	var c *cache.Engine
	if b.before != nil && b.before.tier == p.tier && b.before.engines[name] == made {
		c = b.before.wrapped[name]
	} else {
		id := cache.Identity{Name: name, Config: fingerprint(e), Labels: seesLabels(e)}
		c = p.cache.Engine(id, made.fleet, func() string { return signatureVersion(made.kind, made.fleet.Status()) })
	}
	p.wrapped[name], p.cached = c, append(p.cached, c)
	return c
}

// fingerprint changes with whatever may change what an engine says: its settings,
// and how this version of Portcullis reads its answers.
func fingerprint(e *configv1.Engine) string {
	return Version() + " " + digest(withoutCanary(e))
}

func withoutCanary(e *configv1.Engine) *configv1.Engine {
	e = proto.CloneOf(e)
	e.Canary = nil
	return e
}

// seesLabels says whether an engine is told the object's name or content type,
// and may judge by it. In doubt it may.
func seesLabels(e *configv1.Engine) bool {
	switch k := e.GetKind().(type) {
	case *configv1.Engine_Clamd:
		return false
	case *configv1.Engine_Cloudmersive:
		return k.Cloudmersive.GetAdvanced().GetSendFileName()
	case *configv1.Engine_Icap:
		return k.Icap.GetSendFileName()
	}
	return true
}

// signatureVersion is what every healthy instance works with, or "" when they
// disagree or one cannot tell: then nobody knows which one will judge. So it is
// for a while after one was blind: what it called clean until that was noticed is
// remembered under the version that it has again when it sees.
func signatureVersion(kind string, instances []fleet.Status) string {
	version := ""
	for _, s := range instances {
		if !s.Blind.IsZero() && time.Since(s.Blind) < cache.MaxCleanTTL {
			return ""
		}
		if !s.OK {
			continue
		}
		v := s.Signatures.Version
		if kind == "clamd" && s.Signatures.Built.IsZero() {
			v = "" // without an official database clamd names its program only
		}
		if v == "" || version != "" && v != version {
			return ""
		}
		version = v
	}
	return version
}

// tellRedis logs when Redis begins or ceases to be used.
func tellRedis(log *slog.Logger) cache.Changed {
	return func(up bool, why error) {
		if up {
			log.Info("verdicts are shared through redis")
			return
		}
		log.Warn("redis is not used: every engine is asked for what is not in memory", slog.Any("error", why))
	}
}

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
	"github.com/portcullis-av/portcullis/scan/fleet"
)

// reloader takes a changed configuration into use, whole or not at all.
type reloader struct {
	service *service
	watcher *watcher

	refused sight  // the last one that was not taken
	said    string // why; empty when the last one was taken
	retired sync.WaitGroup
	mu      sync.Mutex // held while parts are made or let go
}

// errRestart says that a configuration is right, but not for this process.
var errRestart = errors.New("needs a restart")

// reload reports whether what the watcher has seen is in use now. If not, the old
// configuration stays, with all that it has.
func (r *reloader) reload(ctx context.Context, seen sight) bool {
	s := r.service
	began, before := time.Now(), s.parts()
	err := r.take(ctx)
	if ctx.Err() != nil {
		return false
	}
	if err == nil {
		r.refused, r.said = sight{}, ""
		s.reloads.good.Set(1)
		if s.parts() != before { // else the file says the same in other words
			s.log.Info("the configuration was reloaded", slog.String("config", s.parts().hash),
				slog.Duration("took", time.Since(began)))
		}
		return true
	}
	// The same mistake is told once, however often it is looked at.
	if again := seen == r.refused && err.Error() == r.said; !again {
		result, advice := reloadInvalid, "mend the file; the old configuration stays"
		if errors.Is(err, errRestart) {
			result, advice = reloadRestart, "restart to use it; until then the old configuration stays whole"
		}
		s.reloads.refused(result)
		s.log.Error("the configuration was not reloaded: "+advice, slog.String("why", strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	r.refused, r.said = seen, err.Error()
	return false
}

// take puts what the watcher has read into use.
func (r *reloader) take(ctx context.Context) error {
	s, w := r.service, r.watcher
	if w.err != nil {
		return fmt.Errorf("%s cannot be read: %w", w.path, w.err)
	}
	cfg, err := config.Parse(w.path, w.data, config.CheckFiles, checkRules)
	if err != nil {
		return err
	}
	m, before := cfg.Message(), s.parts()
	if err := cfg.Reject(fixed(before.cfg.Message(), m)...); err != nil {
		return fmt.Errorf("%w: %w", errRestart, err)
	}
	files := digestsOf(filesOf(m), w.memo)
	if hashOf(m) == before.hash && maps.Equal(files, before.files) {
		return nil
	}
	secure, err := loadTLS(m.GetListen().GetTls(), s.tls)
	if err != nil {
		return err
	}
	b := &builder{observer: s.observer, redis: tellRedis(s.log), traces: s.traces, before: before, files: files}
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := b.build(cfg)
	if err != nil {
		return err
	}
	next.start(ctx)
	proven(ctx, next, before)
	s.tls.now.Store(secure)
	s.observer.metrics.begin(next.policies)
	s.now.Store(next)
	idle := s.gate.Swap(next.setup)
	_ = setLevel(s.level, m) // validated
	s.reloads.inUse(next, before)
	r.retired.Go(func() { r.retire(ctx, before, idle) })
	return nil
}

// retire lets go of a configuration once no exchange is under it any more, or
// when the process ends.
func (r *reloader) retire(ctx context.Context, p *parts, idle <-chan struct{}) {
	select {
	case <-idle:
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.close()
	r.service.observer.metrics.end(p.policies, r.service.parts().policies)
}

// maxProof is the longest a reload waits for the first probes of new engines. An
// engine that is down keeps no configuration from being used.
const maxProof = 3 * time.Second

// proven waits for the first probe of engines that are new, so that no exchange
// has to.
func proven(ctx context.Context, next, before *parts) {
	ctx, cancel := context.WithTimeout(ctx, maxProof)
	defer cancel()
	for name, e := range next.engines {
		for before.engines[name] != e && !probed(e.fleet) && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// probed reports whether an instance is healthy, or all have been asked.
func probed(f *fleet.Fleet) bool {
	all := true
	for _, s := range f.Status() {
		if s.OK {
			return true
		}
		all = all && !s.At.IsZero()
	}
	return all
}

// fixed lists what a new configuration changes and only a restart can: the ports
// and whether they speak TLS, the budgets of bodies, the bounds of the process,
// where traces go, the form of the log.
func fixed(before, now *configv1.Config) []config.Problem {
	var changed []config.Problem
	is := func(path string, same bool) {
		if !same {
			changed = append(changed, config.Problem{Path: path, Message: "cannot change while Portcullis runs"})
		}
	}
	was, l := before.GetListen(), now.GetListen()
	is("listen.extproc", was.GetExtproc() == l.GetExtproc())
	is("listen.admin", was.GetAdmin() == l.GetAdmin())
	is("listen.tls", (was.Tls == nil) == (l.Tls == nil))
	is("spool", proto.Equal(before.GetSpool(), now.GetSpool()))
	is("limits", proto.Equal(before.GetLimits(), now.GetLimits()))
	is("tracing", proto.Equal(before.GetTracing(), now.GetTracing()))
	is("log.format", before.GetLog().GetFormat() == now.GetLog().GetFormat())
	return changed
}

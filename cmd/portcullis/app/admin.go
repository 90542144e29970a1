package app

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
)

// newAdmin is the operator's port: metrics, liveness, readiness, the
// configuration in use and profiles. It has no authentication, so it belongs on
// loopback or behind a network policy.
func newAdmin(inUse func() *config.Config, ready *readiness, gatherer prometheus.Gatherer) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		// Never depends on an engine: restarting the gate mends no engine.
		plain(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status, text := http.StatusOK, []string{"ready"}
		ok, why := ready.ready()
		if !ok {
			status, text = http.StatusServiceUnavailable, []string{"not ready"}
		}
		plain(w, status, strings.Join(append(text, why...), "\n")+"\n")
	})
	mux.HandleFunc("GET /configz", func(w http.ResponseWriter, _ *http.Request) {
		text, err := inUse().Redacted()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(text)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK, "portcullis "+Version()+"\n/metrics /livez /readyz /configz /debug/pprof/\n")
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

type healthCommand struct {
	Admin string `default:"127.0.0.1:9101" help:"The gate's admin address, host:port or unix:/path."`
}

// Help is shown by --help.
func (healthCommand) Help() string {
	return `Examples:
  portcullis health
  portcullis health --admin unix:/run/portcullis/admin.sock`
}

// Run asks /readyz.
func (h healthCommand) Run(p Process) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: dialer(h.Admin)}}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://portcullis/readyz") //nolint:noctx // the client has its own time-out
	if err != nil {
		return fmt.Errorf("ask %s: %w (is the gate running, and is this its admin address?)", h.Admin, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("ask %s: %w", h.Admin, err)
	}
	if _, err := p.Stdout.Write(text); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return codeError(exitNotClean)
	}
	return nil
}

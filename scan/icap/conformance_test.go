package icap_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/icap"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

const (
	mib = 1 << 20
	// largest is what the engines under test give to a server.
	largest = 8 * mib
)

func newEngine(t testing.TB, c icap.Config) *icap.Engine {
	t.Helper()
	if c.MaxObjectBytes == 0 {
		c.MaxObjectBytes = largest
	}
	e, err := icap.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestConformanceFake(t *testing.T) {
	for name, c := range map[string]struct {
		server icaptest.Options
		engine icap.Config
	}{
		"respmod":           {},
		"reqmod":            {engine: icap.Config{Method: icap.MethodReqmod}},
		"preview":           {engine: icap.Config{MaxPreview: 4096}},
		"small preview":     {icaptest.Options{Preview: 64 << 10}, icap.Config{MaxPreview: 7}},
		"echo":              {icaptest.Options{Echo: true, NoAllow204: true}, icap.Config{AcceptEcho: true}},
		"echo after reqmod": {icaptest.Options{Echo: true, Methods: []string{"REQMOD"}}, icap.Config{AcceptEcho: true, Method: icap.MethodAuto}},
		"tls":               {icaptest.Options{TLS: true}, icap.Config{SendFileName: true}},
		"names":             {engine: icap.Config{SendFileName: true, MaxIdle: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			scantest.Conformance(t, func(t *testing.T) scantest.Rig {
				s := icaptest.Start(t, c.server)
				engine := c.engine
				engine.URL, engine.CAFile = s.URL(), s.CAFile()
				return scantest.Rig{
					Engine: newEngine(t, engine),
					Break:  func(*testing.T) { s.Stop() },
					Hang:   func(*testing.T) { s.Set(icaptest.Fault{Hang: true}) },
				}
			})
		})
	}
}

// startReal runs a c-icap in front of a clamd.
func startReal(t testing.TB, o icaptest.RealOptions) (*icaptest.Real, *clamdtest.Real) {
	t.Helper()
	daemon := clamdtest.StartReal(t, clamdtest.RealOptions{})
	o.ClamdSocket = strings.TrimPrefix(daemon.Unix(), "unix:")
	return icaptest.StartReal(t, o), daemon
}

func TestConformanceReal(t *testing.T) {
	scantest.Conformance(t, func(t *testing.T) scantest.Rig {
		r, _ := startReal(t, icaptest.RealOptions{})
		return scantest.Rig{
			Engine: newEngine(t, icap.Config{
				URL: r.URL(), MaxPreview: 4096, SendFileName: true,
				IdleTimeout: 100 * time.Millisecond, // c-icap does not stop while connections are open
			}),
			Break: func(*testing.T) { r.Stop() },
			Hang:  func(*testing.T) { r.Signal(syscall.SIGSTOP) },
		}
	})
}

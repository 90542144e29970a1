package clamd_test

import (
	"syscall"
	"testing"

	"github.com/portcullis-av/portcullis/scan/clamd"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

func newEngine(t testing.TB, address string) *clamd.Engine {
	t.Helper()
	e, err := clamd.New(clamd.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestConformanceFake(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			scantest.Conformance(t, func(t *testing.T) scantest.Rig {
				s := clamdtest.Start(t, clamdtest.Options{Network: network})
				return scantest.Rig{
					Engine: newEngine(t, s.Address()),
					Break:  func(*testing.T) { s.Stop() },
					Hang: func(t *testing.T) {
						s.Set(clamdtest.Fault{Hang: true})
						t.Cleanup(func() { s.Set(clamdtest.Fault{}) })
					},
				}
			})
		})
	}
}

func TestConformanceReal(t *testing.T) {
	for name, address := range map[string]func(*clamdtest.Real) string{
		"unix": (*clamdtest.Real).Unix, "tcp": (*clamdtest.Real).TCP,
	} {
		t.Run(name, func(t *testing.T) {
			scantest.Conformance(t, func(t *testing.T) scantest.Rig {
				r := clamdtest.StartReal(t, clamdtest.RealOptions{})
				return scantest.Rig{
					Engine: newEngine(t, address(r)),
					Break:  func(*testing.T) { r.Stop() },
					Hang: func(t *testing.T) {
						r.Signal(syscall.SIGSTOP)
						t.Cleanup(func() { r.Signal(syscall.SIGCONT) })
					},
				}
			})
		})
	}
}

package rig_test

import (
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/portcullis-av/portcullis/e2e/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func spawn(t *testing.T, script string) *rig.Process {
	t.Helper()
	p, err := rig.Spawn(t.TempDir(), "child", "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// A scrape is read whole, with escaped labels, and sums are over all series
// that have the labels asked for.
func TestMetrics(t *testing.T) {
	m, err := rig.ParseMetrics(`# HELP legs_total Legs.
# TYPE legs_total counter
legs_total{leg="request",outcome="CLEAN"} 3
legs_total{leg="response",outcome="CLEAN"} 4
legs_total{leg="response",outcome="a,b=\"}\\"} 1e+03
up 1
size_bucket{le="+Inf"} +Inf
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		want  float64
		name  string
		pairs []string
	}{
		{1007, "legs_total", nil},
		{7, "legs_total", []string{"outcome", "CLEAN"}},
		{4, "legs_total", []string{"outcome", "CLEAN", "leg", "response"}},
		{1000, "legs_total", []string{"outcome", `a,b="}\`}},
		{0, "legs_total", []string{"outcome", "INFECTED"}},
		{1, "up", nil},
		{math.Inf(1), "size_bucket", nil},
	} {
		if got := m.Sum(row.name, row.pairs...); got != row.want {
			t.Errorf("%s %v: %v, want %v", row.name, row.pairs, got, row.want)
		}
	}
	if names := m.Names(); !slices.Equal(names, []string{"legs_total", "up", "size_bucket"}) {
		t.Errorf("names %v", names)
	}
	for _, bad := range []string{"up", "up one", `up{a} 1`, `up{a="b} 1`} {
		if _, err := rig.ParseMetrics(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// A process can be signalled, watched and asked for its status and output.
func TestProcess(t *testing.T) {
	p := spawn(t, "echo one; echo two >&2; exit 3")
	if status, err := p.Exit(10 * time.Second); status != 3 || err != nil {
		t.Errorf("status %d, error %v", status, err)
	}
	if out := string(p.Output()); out != "one\ntwo\n" || p.Tail(1) != "two" {
		t.Errorf("output %q, its end %q", out, p.Tail(1))
	}
	if _, err := p.Usage(); err == nil {
		t.Error("an ended process has usage")
	}

	p = spawn(t, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
	for !strings.Contains(p.Tail(1), "ready") {
		time.Sleep(time.Millisecond)
	}
	if u, err := p.Usage(); err != nil || u.RSS <= 0 || u.PeakRSS <= 0 || u.Files < 3 || u.Threads != 1 {
		t.Errorf("usage %+v, error %v", u, err)
	}
	if err := p.Stop(100 * time.Millisecond); err == nil {
		t.Error("a process that ignores SIGTERM was stopped by it")
	}
	if status, err := p.Exit(0); status != -1 || err != nil {
		t.Errorf("after Stop: status %d, error %v", status, err)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signalling an ended process: %v", err)
	}
}

// CPU time counts what the process did.
func TestUsageCountsCPU(t *testing.T) {
	p := spawn(t, "while :; do :; done")
	deadline := time.Now().Add(20 * time.Second)
	for {
		u, err := p.Usage()
		if err != nil {
			t.Fatal(err)
		}
		if u.CPU >= 100*time.Millisecond {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a busy loop used %v", u.CPU)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// What never gets ready says why, with its output.
func TestStartFails(t *testing.T) {
	_, err := rig.StartEnvoy(rig.EnvoyOptions{Binary: "/bin/echo", Dir: t.TempDir(), Config: []byte("{}")})
	if err == nil || !strings.Contains(err.Error(), "--config-path") {
		t.Errorf("error %v", err)
	}
	if _, err := rig.StartPortcullis(rig.PortcullisOptions{Binary: "/nowhere", Dir: t.TempDir()}); err == nil {
		t.Error("nothing was started")
	}
}

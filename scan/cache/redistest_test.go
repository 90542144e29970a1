package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// server is a real redis-server that keeps nothing.
type server struct {
	socket string
	cmd    *exec.Cmd
	ended  chan struct{}
}

// startRedis starts a server on a unix socket in a folder of its own; more are
// further options. It ends with the test.
func startRedis(t testing.TB, more ...string) *server {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is missing: run make install")
		}
		t.Skip("redis-server is missing: run make install")
	}
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // a socket's path may have 107 bytes only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &server{socket: filepath.Join(dir, "s"), ended: make(chan struct{})}
	args := []string{"--port", "0", "--unixsocket", s.socket, "--save", "", "--appendonly", "no", "--dir", dir}
	s.cmd = exec.Command(binary, append(args, more...)...)
	var log bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("redis-server:\n%s", log.String())
		}
	})
	for range 500 {
		if conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", s.socket); err == nil {
			_ = conn.Close()
			return s
		}
		select {
		case <-s.ended:
			t.Fatalf("redis-server ended:\n%s", log.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal("redis-server does not listen")
	return nil
}

func (s *server) address() string { return "unix:" + s.socket }

func (s *server) signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

func (s *server) kill() {
	s.signal(syscall.SIGCONT)
	s.signal(syscall.SIGKILL)
	<-s.ended
}

// command sends one command and returns the first KiB of what comes back.
func (s *server) command(t *testing.T, args ...string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "*%d\r\n", len(args))
	for _, a := range args {
		_, _ = fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(a), a)
	}
	reply := make([]byte, 1024)
	n, err := conn.Read(reply)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return string(reply[:n])
}

// replica is one process's cache in front of a counted engine.
type replica struct {
	*Engine
	told  <-chan string
	cache *Cache
	scans *counter
}

// startReplica returns a cache that uses r, running until the test ends, once it
// has reached Redis.
func startReplica(t testing.TB, r Redis, e engineFunc) *replica {
	t.Helper()
	c := newCache(t, Config{Redis: &r})
	told := run(t, c)
	waitFor(t, "Redis to be used", func() bool { return c.Stats().Shared.Up })
	scans := &counter{Engine: e}
	return &replica{c.Engine(Identity{Name: "av", Config: "1"}, scans, always("v1")), told, c, scans}
}

// run returns what Run tells.
func run(t testing.TB, c *Cache) <-chan string {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	told := make(chan string, 100)
	go func() {
		defer close(done)
		c.Run(ctx, func(up bool, why error) { told <- fmt.Sprint(up, " ", why) })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return told
}

// waitFor polls what another process does and no channel tells.
func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	for range 1000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited too long for %s", what)
}

// flush waits until n verdicts have been written.
func (r *replica) flush(t testing.TB, n uint64) {
	t.Helper()
	waitFor(t, "verdicts to be written", func() bool { return r.cache.Stats().Shared.Written >= n })
}

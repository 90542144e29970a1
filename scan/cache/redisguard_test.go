package cache

import (
	"bytes"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// hostile is a server that answers every command with reply, on each connection
// after it let so many PINGs pass.
func hostile(t *testing.T, pings int, reply string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket) //nolint:noctx // ends by Close
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go replying(c, pings, reply)
		}
	}()
	return "unix:" + socket
}

func replying(c net.Conn, pings int, reply string) {
	defer func() { _ = c.Close() }()
	command := make([]byte, 4<<10)
	for {
		n, err := c.Read(command)
		if err != nil {
			return
		}
		said, times := reply, 1
		switch {
		case pings > 0 && bytes.Contains(command[:n], []byte("hello")):
			said = "-ERR unknown command\r\n" // as an old server does
		case pings > 0 && bytes.Contains(command[:n], []byte("ping")):
			said, pings = "+PONG\r\n", pings-1
		case strings.HasSuffix(reply, "..."):
			times = 64
		}
		for range times {
			if _, err := c.Write([]byte(said)); err != nil {
				return
			}
		}
	}
}

// Whatever listens in Redis's place, every look-up is a miss, the process lives and
// its memory is bounded.
func TestHostileRedis(t *testing.T) {
	for name, reply := range map[string]string{
		"huge string":   "$9223372036854775805\r\n",
		"large string":  "$20000000000\r\n",
		"huge array":    "*9223372036854775805\r\n",
		"large array":   "*2000000000\r\n",
		"huge map":      "%4000000000\r\n",
		"huge push":     ">9223372036854775805\r\n",
		"nested arrays": strings.Repeat("*1\r\n", 1<<20),
		"endless line":  "+" + strings.Repeat("x", 1<<20) + "...",
		"HTTP":          "HTTP/1.1 400 Bad Request\r\n\r\n",
		"binary":        "\x00\xff\x15\x03\x01\r\n",
		"empty":         "\r\n",
		"one of two":    ":5\r\n",
		"nil":           "$-1\r\n",
		"wrong error":   "-WRONGTYPE x\r\n",
	} {
		for _, pings := range []int{0, 2} {
			t.Run(name, func(t *testing.T) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				c := newCache(t, Config{Redis: &Redis{Address: hostile(t, pings, reply)}})
				run(t, c)
				if pings > 0 {
					waitFor(t, "Redis to be used", func() bool { return c.Stats().Shared.Up })
				} else {
					waitFor(t, "an error", func() bool { return c.Stats().Shared.Errors > 0 })
				}
				e := c.Engine(Identity{Name: "av"}, engineFunc(judge), always("v1"))
				for _, content := range []string{"fine", "fine too", marker} {
					want := scan.OutcomeClean
					if content == marker {
						want = scan.OutcomeInfected
					}
					began := time.Now()
					mustScan(t, e, object(content), want)
					if took := time.Since(began); took > time.Second {
						t.Errorf("took %v", took)
					}
				}
				runtime.ReadMemStats(&after)
				if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
					t.Errorf("%d MiB were allocated", grown>>20)
				}
			})
		}
	}
}

package tap_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/portcullis-av/portcullis/e2e/tap"
)

type fakeConn struct {
	net.Conn
	r io.Reader
}

func (f fakeConn) Read(p []byte) (int, error) { return f.r.Read(p) }

// A tap finds each canary exactly once, however the reads cut the stream.
func TestFindsEveryCanaryOnce(t *testing.T) {
	a, b := "0123456789abcdef", "fedcba9876543210"
	text := "x" + tap.Canary(a) + strings.Repeat("filler ", 100) + tap.Canary(b) + tap.Canary(a) + "canary:short"
	for _, size := range []int{1, 2, 7, 22, 23, 24, 64, 4096} {
		heard := tap.New()
		c := heard.Conn(fakeConn{r: strings.NewReader(text)})
		for buf := make([]byte, size); ; {
			if _, err := c.Read(buf); err != nil {
				break
			}
		}
		if got := heard.Bytes(); got != int64(len(text)) {
			t.Errorf("reads of %d: %d bytes, want %d", size, got, len(text))
		}
		if na, nb := heard.Canaries(a), heard.Canaries(b); na != 2 || nb != 1 {
			t.Errorf("reads of %d: found %d and %d, want 2 and 1", size, na, nb)
		}
	}
	heard := tap.New()
	if _, err := io.ReadAll(heard.Conn(fakeConn{r: iotest.HalfReader(strings.NewReader(text))})); err != nil {
		t.Fatal(err)
	}
	if heard.Canaries(a) != 2 {
		t.Errorf("half reads: found %d, want 2", heard.Canaries(a))
	}
}

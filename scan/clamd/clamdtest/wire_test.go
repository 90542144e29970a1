package clamdtest_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	streamMaxLength = 1 << 20
	maxFileSize     = streamMaxLength / 2
	readTimeout     = time.Second
)

// TestWire holds the fake to what the real daemon does, byte by byte.
func TestWire(t *testing.T) {
	t.Run("real", func(t *testing.T) {
		// clamd refuses a MaxScanSize below MaxFileSize only in words, so both
		// are given.
		strict := clamdtest.StartReal(t, clamdtest.RealOptions{
			StreamMaxLength: streamMaxLength, MaxFileSize: maxFileSize, MaxScanSize: 2 * streamMaxLength,
			ReadTimeout: readTimeout, Conf: []string{"CommandReadTimeout 1"},
		})
		lax := clamdtest.StartReal(t, clamdtest.RealOptions{
			StreamMaxLength: streamMaxLength, MaxFileSize: maxFileSize, MaxScanSize: 2 * streamMaxLength,
			IgnoreLimits: true, IgnoreEncrypted: true,
		})
		t.Run("unix", func(t *testing.T) { testWire(t, strict.Unix(), lax.Unix()) })
		t.Run("tcp", func(t *testing.T) { testWire(t, strict.TCP(), lax.TCP()) })
	})
	for _, network := range []string{"unix", "tcp"} {
		t.Run("fake "+network, func(t *testing.T) {
			strict := clamdtest.Start(t, clamdtest.Options{
				Network: network, StreamMaxLength: streamMaxLength, MaxFileSize: maxFileSize, ReadTimeout: readTimeout,
			})
			lax := clamdtest.Start(t, clamdtest.Options{
				Network: network, StreamMaxLength: streamMaxLength, MaxFileSize: maxFileSize,
				IgnoreLimits: true, IgnoreEncrypted: true,
			})
			testWire(t, strict.Address(), lax.Address())
		})
	}
}

// testWire talks to a strict daemon, and to one that calls what it cannot judge OK.
func testWire(t *testing.T, strict, lax string) {
	text := bytes.Repeat([]byte("harmless\n"), 100)
	large := bytes.Repeat([]byte("harmless\n"), streamMaxLength/9+1)
	markerLast := append(bytes.Clone(large[:maxFileSize-64]), clamdtest.Marker()...)
	const ok, eicar, marker = "stream: OK", "stream: " + clamdtest.EICARName + " FOUND", "stream: " + clamdtest.MarkerName + " FOUND"
	for _, c := range []struct {
		name    string
		address string
		sent    []byte
		want    string
	}{
		{"PING", strict, []byte("zPING\x00"), "PONG\x00"},
		{"PING by line", strict, []byte("nPING\n"), "PONG\n"},
		{"VERSION", strict, []byte("zVERSION\x00"), "ClamAV 1.4.6\x00"},
		{"unknown", strict, []byte("zNOSUCH\x00"), "UNKNOWN COMMAND\x00"},
		{"unknown by line", strict, []byte("nNOSUCH\n"), "UNKNOWN COMMAND\n"},
		{"unprefixed", strict, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "UNKNOWN COMMAND\n"},
		{"empty stream", strict, stream(1, nil), ok + "\x00"},
		{"clean", strict, stream(1<<16, text), ok + "\x00"},
		{"clean, byte by byte", strict, stream(1, text), ok + "\x00"},
		{"EICAR", strict, stream(1<<16, clamdtest.EICAR()), eicar + "\x00"},
		{"EICAR, byte by byte", strict, stream(1, clamdtest.EICAR()), eicar + "\x00"},
		{"EICAR not at the start", strict, stream(1<<16, append([]byte("x"), clamdtest.EICAR()...)), ok + "\x00"},
		{"EICAR by line", strict, append([]byte("nINSTREAM\n"), stream(1<<16, clamdtest.EICAR())[10:]...), eicar + "\n"},
		{"marker last, over many chunks", strict, stream(1000, markerLast), marker + "\x00"},
		{"exactly MaxFileSize", strict, stream(1<<16, large[:maxFileSize]), ok + "\x00"},
		{"over MaxFileSize", strict, stream(1<<16, large[:maxFileSize+1]), "stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\x00"},
		{"over MaxFileSize, no alert", lax, stream(1<<16, append(clamdtest.EICAR(), large[:maxFileSize]...)), ok + "\x00"},
		{"exactly StreamMaxLength", lax, stream(1<<16, large[:streamMaxLength]), ok + "\x00"},
		{"over StreamMaxLength", strict, stream(1<<16, large[:streamMaxLength+1]), "INSTREAM size limit exceeded. ERROR\x00"},
		{"a chunk header over StreamMaxLength", strict, []byte("zINSTREAM\x00\xff\xff\xff\xff"), "INSTREAM size limit exceeded. ERROR\x00"},
		{"encrypted", strict, stream(1<<16, encryptedZip(t)), "stream: Heuristics.Encrypted.Zip FOUND\x00"},
		{"encrypted, no alert", lax, stream(1<<16, encryptedZip(t)), ok + "\x00"},
		{"stalled in a chunk", strict, stream(1<<16, text)[:100], "COMMAND READ TIMED OUT\n"},
		{"stalled before the zero chunk", strict, []byte("zINSTREAM\x00\x00\x00\x00\x01a"), "COMMAND READ TIMED OUT\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dial(t, c.address)
			send(t, conn, c.sent)
			if got := receive(t, conn); got != c.want {
				t.Errorf("reply %q, want %q", got, c.want)
			}
		})
	}
	t.Run("left before the zero chunk", func(t *testing.T) {
		conn := dial(t, strict)
		whole := stream(1<<16, clamdtest.EICAR())
		send(t, conn, whole[:len(whole)-4])
		closeWrite(t, conn)
		if got := receive(t, conn); got != "" {
			t.Errorf("reply %q, want none", got)
		}
	})
	t.Run("left after the zero chunk", func(t *testing.T) {
		conn := dial(t, strict)
		send(t, conn, stream(1<<16, clamdtest.EICAR()))
		closeWrite(t, conn)
		if got := receive(t, conn); got != eicar+"\x00" {
			t.Errorf("reply %q, want %q", got, eicar+"\x00")
		}
	})
}

// stream is INSTREAM with content in chunks of at most size bytes.
func stream(size int, content []byte) []byte {
	sent := []byte("zINSTREAM\x00")
	for len(content) > 0 {
		n := min(size, len(content))
		sent = binary.BigEndian.AppendUint32(sent, uint32(n))
		sent = append(sent, content[:n]...)
		content = content[n:]
	}
	return append(sent, 0, 0, 0, 0)
}

// encryptedZip is a zip whose one member is marked as encrypted.
func encryptedZip(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{
		Name: "secret.txt", Method: zip.Store, Flags: 1, CompressedSize64: 64, UncompressedSize64: 52, CRC32: 0x12345678,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte{0xa5}, 64)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// send writes until the other side closes: a daemon that has answered stops reading.
func send(t *testing.T, conn net.Conn, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Logf("write: %v", err)
	}
}

func closeWrite(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// receive reads to the end of the connection, however that comes.
func receive(t *testing.T, conn net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset by peer") {
		t.Errorf("read: %v", err)
	}
	return string(b)
}

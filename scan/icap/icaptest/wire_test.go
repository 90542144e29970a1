package icaptest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// say sends raw bytes, with HOST for the server's address, and returns all that
// comes back within the connection's life.
func say(t *testing.T, s *Server, raw string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte(strings.ReplaceAll(raw, "HOST", s.listener.Addr().String()))); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

const (
	reqHead = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
	resHead = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
)

func respmod(fields, chunks string) string {
	return "RESPMOD icap://HOST/scan ICAP/1.0\r\nHost: HOST\r\n" + fields +
		fmt.Sprintf("Encapsulated: req-hdr=0, res-hdr=%d, res-body=%d\r\n\r\n", len(reqHead), len(reqHead)+len(resHead)) +
		reqHead + resHead + chunks
}

func TestSpeaks(t *testing.T) {
	s := Start(t, Options{Preview: 4})
	for raw, want := range map[string]string{
		"OPTIONS icap://HOST/scan ICAP/1.0\r\nHost: HOST\r\n\r\n":                    "ICAP/1.0 200 ",
		respmod("Allow: 204\r\n", "4\r\ntext\r\n0\r\n\r\n"):                          "ICAP/1.0 204 ",
		respmod("", "4\r\ntext\r\n0\r\n\r\n"):                                        "ICAP/1.0 200 ",
		respmod("Preview: 4\r\n", "4\r\ntext\r\n0; ieof\r\n\r\n"):                    "ICAP/1.0 204 ",
		respmod("Preview: 4\r\n", "4\r\ntext\r\n0\r\n\r\n4\r\nmore\r\n0\r\n\r\n"):    "ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 200 ",
		respmod("Allow: 204\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", 68, EICAR())): "X-Infection-Found: Type=0; Resolution=2; Threat=" + EICARName,
	} {
		if got := say(t, s, raw); !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// TestStrict: what a client must not do is noticed.
func TestStrict(t *testing.T) {
	s := Start(t, Options{Preview: 4})
	const body = "4\r\ntext\r\n0\r\n\r\n"
	for name, raw := range map[string]string{
		"relative URI":           "OPTIONS /scan ICAP/1.0\r\nHost: HOST\r\n\r\n",
		"other host":             "OPTIONS icap://HOST/scan ICAP/1.0\r\nHost: other\r\n\r\n",
		"no host":                "OPTIONS icap://HOST/scan ICAP/1.0\r\n\r\n",
		"LF alone":               "OPTIONS icap://HOST/scan ICAP/1.0\nHost: HOST\n\n",
		"206":                    respmod("Allow: 204, 206\r\n", body),
		"framing header":         respmod("Transfer-Encoding: chunked\r\n", body),
		"too large preview":      respmod("Preview: 5\r\n", body),
		"preview too long":       respmod("Preview: 3\r\n", body),
		"preview too short":      respmod("Preview: 4\r\n", "3\r\ntex\r\n0\r\n\r\n"),
		"ieof without preview":   respmod("", "4\r\ntext\r\n0; ieof\r\n\r\n"),
		"offset too small":       strings.Replace(respmod("", body), "res-hdr=28", "res-hdr=27", 1),
		"offset too large":       strings.Replace(respmod("", body), "res-hdr=28", "res-hdr=29", 1),
		"body offset too small":  strings.Replace(respmod("", body), "res-body=66", "res-body=65", 1),
		"body offset too large":  strings.Replace(respmod("", body), "res-body=66", "res-body=67", 1),
		"parts of another":       strings.Replace(respmod("", body), "RESPMOD", "REQMOD", 1),
		"hop-by-hop":             strings.Replace(respmod("", body), "Content-Length: 4\r\n", "Connection: close\r\n", 1),
		"chunk longer":           respmod("", "3\r\ntext\r\n0\r\n\r\n"),
		"chunk size with zeros":  respmod("", "04\r\ntext\r\n0\r\n\r\n"),
		"chunk size no number":   respmod("", "x\r\ntext\r\n0\r\n\r\n"),
		"text after last chunk":  respmod("", "4\r\ntext\r\n0\r\nx\r\n"),
		"header without a colon": respmod("nothing\r\n", body),
	} {
		answer := say(t, s, raw)
		s.mu.Lock()
		if len(s.violations) == 0 {
			t.Errorf("%s: not noticed; it answers %q", name, answer)
		}
		s.violations = nil
		s.mu.Unlock()
	}
}

// TestProducts: the answers made here are framed as they must be.
func TestProducts(t *testing.T) {
	for _, p := range Products() {
		for _, method := range []string{"RESPMOD", "REQMOD"} {
			raw := string(p.infected(method, `"x"`, "Some.Threat"))
			head, rest, _ := strings.Cut(raw, "\r\n\r\n")
			_, offset, _ := strings.Cut(head, "-body=")
			var n int
			if _, err := fmt.Sscan(offset, &n); err != nil || !strings.HasSuffix(rest[:n], "\r\n\r\n") {
				t.Errorf("%s: offset %q does not fit %q", p, offset, rest)
			}
			s := session{in: bufio.NewReader(strings.NewReader(rest[n:]))}
			var body []byte
			if _, err := s.readChunks(&body, 0); err != nil {
				t.Errorf("%s: %v in %q", p, err, rest[n:])
			}
		}
	}
}

package cloudmersivetest

import (
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Behaviour is how one request is answered. Unless it says otherwise, it first
// reads the whole request.
type Behaviour struct {
	early bool
	act   func(s *Server, w http.ResponseWriter, r *http.Request, got Request)
}

func simple(act func(w http.ResponseWriter, r *http.Request)) Behaviour {
	return Behaviour{act: func(_ *Server, w http.ResponseWriter, r *http.Request, _ Request) { act(w, r) }}
}

// Status answers with the status and an error page that repeats the request's
// key, as a debugging proxy might.
func Status(code int) Behaviour { return StatusRetryAfter(code, "") }

// StatusRetryAfter is [Status] with a Retry-After header, if value is not empty.
func StatusRetryAfter(code int, value string) Behaviour {
	return simple(func(w http.ResponseWriter, r *http.Request) {
		if value != "" {
			w.Header().Set("Retry-After", value)
		}
		http.Error(w, refusal+" "+r.Header.Get("Apikey"), code)
	})
}

// EarlyStatus answers without reading the body and then closes the connection,
// as a server does that finds the declared length too much.
func EarlyStatus(code int) Behaviour {
	b := simple(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		http.Error(w, http.StatusText(code), code)
	})
	b.early = true
	return b
}

// EarlyReply is [Reply] without reading the body.
func EarlyReply(contentType, body string) Behaviour {
	b := Reply(contentType, body)
	b.early = true
	return b
}

// Reply answers 200 with this body.
func Reply(contentType, body string) Behaviour {
	return simple(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body) // a client that left is no failure of the test
	})
}

// JSON answers 200 with this text as application/json.
func JSON(body string) Behaviour { return Reply("application/json", body) }

// Huge answers 200 with a JSON object of about n bytes that begins as a clean
// result does.
func Huge(n int) Behaviour {
	return simple(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		block := strings.Repeat("A", 64<<10)
		_, err := io.WriteString(w, `{"CleanResult":true,"FoundViruses":null,"Padding":"`)
		for sent := 0; err == nil && sent < n; sent += len(block) {
			_, err = io.WriteString(w, block)
		}
		if err == nil {
			_, _ = io.WriteString(w, `"}`) // a client that left is no failure of the test
		}
	})
}

// Drip answers 200 with body, one byte every interval.
func Drip(interval time.Duration, body string) Behaviour {
	return Behaviour{act: func(s *Server, w http.ResponseWriter, r *http.Request, _ Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for i := range len(body) {
			if _, err := io.WriteString(w, body[i:i+1]); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush() // the next write says what is wrong
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			case <-s.closing:
				return
			}
		}
	}}
}

// Truncated declares the length of body and closes after its first n bytes.
func Truncated(body string, n int) Behaviour {
	return simple(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = io.WriteString(w, body[:n]) // a client that left is no failure of the test
		panic(http.ErrAbortHandler)
	})
}

// Redirect answers with a status of 3xx and a Location of any content.
func Redirect(code int, location string) Behaviour {
	return simple(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(code)
	})
}

// Reset reads the request and resets the connection.
func Reset() Behaviour { return simple(reset) }

// EarlyReset resets the connection without reading the body.
func EarlyReset() Behaviour {
	b := simple(reset)
	b.early = true
	return b
}

func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the stream is reset
	}
	if under, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = under.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // makes Close send RST
	}
	_ = conn.Close() // it is meant to break
}

// Raw writes these bytes to the connection and closes it, whatever they are.
func Raw(text string) Behaviour {
	return simple(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(conn, text) // a client that left is no failure of the test
		_ = conn.Close()
	})
}

// EarlyRaw is [Raw] without reading the body: what is still coming meets a
// closed connection, and the client sees it broken while it writes.
func EarlyRaw(text string) Behaviour {
	b := Raw(text)
	b.early = true
	return b
}

// Hang reads the request and never answers; it ends when the client leaves or
// the server is closed.
func Hang() Behaviour {
	return Behaviour{act: func(s *Server, _ http.ResponseWriter, r *http.Request, _ Request) {
		select {
		case <-r.Context().Done():
		case <-s.closing:
		}
		panic(http.ErrAbortHandler) // or it would end as an empty 200
	}}
}

// Stall is Hang without reading the body: the client's upload stops too. It
// ends when the server is closed, or a client leaves whose body was small
// enough to be read ahead.
func Stall() Behaviour {
	b := Hang()
	b.early = true
	return b
}

func silent() *log.Logger { return log.New(io.Discard, "", 0) }

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/portcullis-av/portcullis/e2e/nullproc"
)

// roles are what the program does when it starts itself as a child, so that
// each part has its own process to be measured.
func roles() map[string]func(address string) error {
	return map[string]func(string) error{"null": serveNull, "origin": serveOrigin}
}

func serveNull(address string) error {
	s, err := nullproc.StartAt(address, nullproc.Fault{})
	if err != nil {
		return err
	}
	defer s.Close()
	awaitEnd()
	return nil
}

func awaitEnd() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	<-end
}

// receivedHeader tells the client how many bytes of its upload arrived.
const receivedHeader = "X-Received"

func serveOrigin(address string) error {
	var n atomic.Uint64
	server := &http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return
		}
		w.Header().Set(receivedHeader, strconv.FormatInt(received, 10))
		size := int64(0)
		if _, digits, ok := strings.Cut(r.URL.Path, "/bytes/"); ok {
			if size, err = strconv.ParseInt(digits, 10, 64); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		stamp := uint64(size) //nolint:gosec // positive, or the copy ends at once
		if r.URL.RawQuery != "same" {
			stamp = n.Add(1)
		}
		_, _ = io.Copy(w, newBody(stamp, size)) // the client counts what it gets
	})}
	go func() {
		awaitEnd()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return fmt.Errorf("origin: %w", err)
	}
	return nil
}

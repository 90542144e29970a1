package app

import (
	"bufio"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// logQueue takes log lines without ever making an exchange wait for whoever
// reads them: a full pipe costs lines, which are counted, and nothing else. It
// also gathers lines, so that a busy gate does not make one system call each.
type logQueue struct {
	lines   chan []byte
	dropped atomic.Int64
	done    sync.WaitGroup
	mu      sync.RWMutex // held for reading while a line is handed over
	closed  bool
}

// maxQueuedLines is how many lines may wait; at some 500 bytes each a few MiB.
const maxQueuedLines = 8192

func newLogQueue(w io.Writer) *logQueue {
	q := &logQueue{lines: make(chan []byte, maxQueuedLines)}
	q.done.Go(func() { q.write(w) })
	return q
}

// Write implements io.Writer for slog's handlers, which give one whole line a
// call and use their buffer again. It never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return len(line), nil
	}
	select {
	case q.lines <- append([]byte(nil), line...):
	default:
		q.dropped.Add(1)
	}
	return len(line), nil
}

// Dropped is the number of lines that nobody took in time.
func (q *logQueue) Dropped() int64 { return q.dropped.Load() }

func (q *logQueue) write(w io.Writer) {
	out := bufio.NewWriterSize(w, 64<<10)
	for line := range q.lines {
		_, _ = out.Write(line) // there is nowhere to report that the log fails
		if len(q.lines) == 0 {
			_ = out.Flush()
		}
	}
	_ = out.Flush()
}

// flushTime is what the lines that wait get at the end: a full pipe must not
// keep the process from ending.
const flushTime = time.Second

// Close writes what waits; it returns when all is written, or after flushTime.
func (q *logQueue) Close() {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.lines)
	}
	q.mu.Unlock()
	written := make(chan struct{})
	go func() { q.done.Wait(); close(written) }()
	select {
	case <-written:
	case <-time.After(flushTime):
	}
}

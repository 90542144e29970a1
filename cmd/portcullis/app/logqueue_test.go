package app

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every line arrives whole and in order.
func TestLogQueue(t *testing.T) {
	var out bytes.Buffer
	q := newLogQueue(&out)
	var want strings.Builder
	for i := range 1000 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		if n, err := q.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	q.Close()
	q.Close()
	if _, err := q.Write([]byte("late\n")); err != nil {
		t.Error(err)
	}
	if out.String() != want.String() || q.Dropped() != 0 {
		t.Errorf("%d bytes came, %d lines were dropped", out.Len(), q.Dropped())
	}
}

// A reader that does not read costs lines, never time.
func TestLogQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		q := newLogQueue(w)
		for range maxQueuedLines + 64<<10 { // more than queue and buffer hold
			if _, err := q.Write([]byte("a line that nobody reads\n")); err != nil {
				t.Fatal(err)
			}
		}
		if q.Dropped() == 0 {
			t.Error("nothing was dropped, so somebody waited")
		}
		begun := time.Now()
		q.Close()
		if took := time.Since(begun); took != flushTime {
			t.Errorf("the end took %v", took)
		}
		if err := r.Close(); err != nil { // so that no goroutine is left
			t.Fatal(err)
		}
	})
}

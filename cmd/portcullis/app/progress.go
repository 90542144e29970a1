package app

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress shows how far a long scan has read, on a terminal only, and only
// after a second; NO_COLOR and TERM=dumb keep it quiet as well.
type progress struct {
	w        io.Writer
	file     string
	size     int64
	read     int64
	began    time.Time
	shown    time.Time
	terminal bool
}

func newProgress(w io.Writer, getenv func(string) string, file string, size int64) *progress {
	now := time.Now()
	return &progress{
		w: w, file: file, size: size, began: now, shown: now,
		terminal: isTerminal(w) && getenv("TERM") != "dumb" && getenv("NO_COLOR") == "",
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Write counts p; it never fails.
func (m *progress) Write(p []byte) (int, error) {
	m.read += int64(len(p))
	if m.terminal && m.size > 0 && time.Since(m.began) > time.Second && time.Since(m.shown) > 100*time.Millisecond {
		m.shown = time.Now()
		const width = 30
		full := int(min(m.read*width/m.size, width))
		fmt.Fprintf(m.w, "\r[%-*s] %3d%% %s", width, bar[:full], m.read*100/m.size, printable(m.file))
	}
	return len(p), nil
}

const bar = "=============================="

// done removes the bar.
func (m *progress) done() {
	if m.shown.After(m.began) {
		fmt.Fprint(m.w, "\r\033[K")
	}
}

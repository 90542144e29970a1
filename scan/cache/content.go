package cache

import (
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/portcullis-av/portcullis/scan"
)

// borrowed is the content of a flight: equal bytes, lent by each of its callers.
// It reads from any that is still there, and never from one that has left.
type borrowed struct {
	mu      sync.Mutex
	lenders []*lender
}

// lender is one caller's content. It may be read while held shared.
type lender struct {
	content io.ReaderAt
	mu      sync.RWMutex
	gone    bool
}

func (b *borrowed) lend(content io.ReaderAt) *lender {
	l := &lender{content: content}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lenders = append(b.lenders, l)
	return l
}

// takeBack returns when nothing reads l's content any more, nor will.
func (b *borrowed) takeBack(l *lender) {
	b.mu.Lock()
	if i := slices.Index(b.lenders, l); i >= 0 {
		// A new slice: readers walk the old one without a lock.
		b.lenders = slices.Concat(b.lenders[:i], b.lenders[i+1:])
	}
	b.mu.Unlock()
	l.mu.Lock()
	l.gone = true
	l.mu.Unlock()
}

// ReadAt implements [io.ReaderAt]. If one caller's content cannot be read, it
// asks the next one's; the error is the last one's.
func (b *borrowed) ReadAt(p []byte, off int64) (int, error) {
	b.mu.Lock()
	lenders := b.lenders
	b.mu.Unlock()
	n, err := 0, error(&scan.Error{Kind: scan.KindCanceled, Op: "read the object to scan", Err: errNobody})
	for _, l := range lenders {
		read, readErr, ok := l.readAt(p, off)
		if !ok {
			continue
		}
		n, err = read, readErr
		if n == len(p) {
			break
		}
	}
	return n, err
}

var errNobody = errors.New("everybody who asked has left")

func (l *lender) readAt(p []byte, off int64) (n int, err error, ok bool) { //nolint:revive // ReadAt's own results first
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.gone {
		return 0, nil, false
	}
	n, err = l.content.ReadAt(p, off)
	return n, err, true
}
